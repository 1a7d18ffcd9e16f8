package import IO
import Synchronization

/// Slows down who tries keys: a token bucket for each client address, of one instance over all its
/// loops. Only wrong keys and look-ups come here, so the lock is off the hot path.
package final class FailedKeys: Sendable {
    package struct Settings: Hashable, Sendable {
        /// Wrong keys of one address that are answered as such, in the long run.
        package var perMinute = 60
        /// And at once.
        package var burst = 50
        /// Addresses watched at a time, some 100 octets each; all beyond share one bucket.
        package var addresses = 10_000

        package init() {}
    }

    private struct Bucket {
        /// Tokens. Below zero where calls that were under way failed too; at most `burst` below.
        var level: Double
        var filledAt: MonotonicInstant
    }

    private struct State {
        var buckets: [IPAddress: Bucket] = [:]
        var overflow: Bucket
        var sweptAt: MonotonicInstant
    }

    private let settings: Settings
    private let state: Mutex<State>

    package init(_ settings: Settings = Settings(), now: MonotonicInstant = .now) {
        self.settings = settings
        state = Mutex(
            State(
                overflow: Bucket(level: Double(settings.burst), filledAt: now), sweptAt: now))
    }

    /// Addresses that are watched.
    package var count: Int { state.withLock { $0.buckets.count } }

    /// How long an address that has failed too often must wait; nil for any other.
    package func wait(for address: IPAddress?, at now: MonotonicInstant = .now) -> Duration? {
        state.withLock { state in
            let known = state.buckets[Self.source(address)]
            // Who is not watched because too many are meets the bucket of all those.
            guard
                let bucket = known
                    ?? (state.buckets.count >= settings.addresses ? state.overflow : nil)
            else { return nil }
            let level = filled(bucket, at: now).level
            return level >= 1 ? nil : .seconds((1 - level) / ratePerSecond)
        }
    }

    /// Notes a wrong key.
    package func note(_ address: IPAddress?, at now: MonotonicInstant = .now) {
        let source = Self.source(address)
        state.withLock { state in
            if state.buckets[source] == nil, state.buckets.count >= settings.addresses {
                sweep(&state, at: now)
            }
            if let bucket = state.buckets[source] {
                state.buckets[source] = spent(bucket, at: now)
            } else if state.buckets.count < settings.addresses {
                state.buckets[source] = spent(
                    Bucket(level: Double(settings.burst), filledAt: now), at: now)
            } else {
                state.overflow = spent(state.overflow, at: now)
            }
        }
    }

    /// Forgets those that are full again, at most once a second: a full bucket is like none.
    private func sweep(_ state: inout State, at now: MonotonicInstant) {
        guard state.sweptAt.duration(to: now) >= .seconds(1) else { return }
        state.sweptAt = now
        state.buckets = state.buckets.filter {
            filled($0.value, at: now).level < Double(settings.burst)
        }
    }

    private var ratePerSecond: Double { Double(settings.perMinute) / 60 }

    private func filled(_ bucket: Bucket, at now: MonotonicInstant) -> Bucket {
        let seconds = max(.zero, bucket.filledAt.duration(to: now)) / .seconds(1)
        return Bucket(
            level: min(Double(settings.burst), bucket.level + seconds * ratePerSecond),
            filledAt: now)
    }

    private func spent(_ bucket: Bucket, at now: MonotonicInstant) -> Bucket {
        var bucket = filled(bucket, at: now)
        bucket.level = max(-Double(settings.burst), bucket.level - 1)
        return bucket
    }

    /// An IPv6 client has a network of 64 bits to choose addresses from, so that is one. Those of a
    /// Unix socket are one too.
    private static func source(_ address: IPAddress?) -> IPAddress {
        guard let address else { return IPAddress(high: 0, low: 0) }
        return address.isIPv4 ? address : IPAddress(high: address.high, low: 0)
    }
}
