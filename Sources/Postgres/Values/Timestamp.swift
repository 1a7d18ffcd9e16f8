internal import Glibc
internal import IO

/// A moment as PostgreSQL keeps `timestamptz`: whole microseconds, no zone.
package struct Timestamp: Hashable, Comparable, Sendable {
    /// Microseconds since 1970-01-01T00:00:00Z.
    package let microseconds: Int64

    package init(microseconds: Int64) {
        self.microseconds = microseconds
    }

    /// Whole milliseconds since 1970, rounded down.
    package var milliseconds: Int64 { floorDivide(microseconds, 1_000).quotient }

    /// PostgreSQL's `infinity`.
    package static let distantFuture = Timestamp(microseconds: .max)
    /// PostgreSQL's `-infinity`.
    package static let distantPast = Timestamp(microseconds: .min)

    /// This machine's clock. The database's clock is the truth for whatever is stored.
    package static var now: Timestamp {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(microseconds: Int64(time.tv_sec) * 1_000_000 + Int64(time.tv_nsec) / 1_000)
    }

    package static func < (left: Timestamp, right: Timestamp) -> Bool {
        left.microseconds < right.microseconds
    }

    package static func + (time: Timestamp, duration: Duration) -> Timestamp {
        Timestamp(microseconds: time.microseconds + duration.nanoseconds / 1_000)
    }

    package static func - (time: Timestamp, duration: Duration) -> Timestamp {
        Timestamp(microseconds: time.microseconds - duration.nanoseconds / 1_000)
    }

    package static func - (left: Timestamp, right: Timestamp) -> Duration {
        .microseconds(left.microseconds - right.microseconds)
    }
}

func floorDivide(_ value: Int64, _ divisor: Int64) -> (quotient: Int64, remainder: Int64) {
    let (quotient, remainder) = value.quotientAndRemainder(dividingBy: divisor)
    return remainder < 0 ? (quotient - 1, remainder + divisor) : (quotient, remainder)
}
