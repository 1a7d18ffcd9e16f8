import IO
import Synchronization
import TestSupport
import Testing

@testable import ProofSimulator

@Suite(.timeLimit(.minutes(1))) struct `The virtual clock` {
    /// What `body` notes, on a loop of its own.
    private func notes(
        _ body: @escaping @Sendable (VirtualClock, EventLoop, Notes) async -> Void
    ) async throws -> [String] {
        try await withLoop { loop in
            let notes = Notes()
            let clock = VirtualClock(on: loop)
            await withTaskExecutorPreference(loop) { await body(clock, loop, notes) }
            return notes.all
        }
    }

    @Test func `wakes sleepers in order of time, and lets a year pass in no time`() async throws {
        let start = ContinuousClock.now
        let all = try await notes { clock, loop, notes in
            await withDiscardingTaskGroup { group in
                for days in [365, 2, 1, 2] {
                    group.addTask(executorPreference: loop) {
                        try? await clock.sleep(for: .seconds(86_400 * days))
                        notes.add("\(clock.elapsed.components.seconds / 86_400)")
                    }
                }
            }
        }
        #expect(all == ["1", "2", "2", "365"])
        #expect(ContinuousClock.now - start < .seconds(30))
    }

    @Test func `wakes who lay down first, of those that wake at the same time`() async throws {
        let all = try await notes { clock, loop, notes in
            await withDiscardingTaskGroup { group in
                for number in 0..<300 {
                    group.addTask(executorPreference: loop) {
                        try? await clock.sleep(for: .seconds(number * 7 % 3))
                        notes.add("\(number * 7 % 3) \(number + 1000)")
                    }
                }
            }
        }
        #expect(all.count == 300 && all == all.sorted())
    }

    @Test func `passes over whoever was cancelled, without waiting for his time`() async throws {
        let all = try await notes { clock, loop, notes in
            await withDiscardingTaskGroup { group in
                group.addTask(executorPreference: loop) {
                    do throws(CancellationError) {
                        try await clock.sleep(for: .seconds(100))
                    } catch { notes.add("cancelled after \(clock.elapsed)") }
                }
                try? await clock.sleep(for: .seconds(3))
                group.cancelAll()
            }
            try? await clock.sleep(for: .seconds(1))
            notes.add("\(clock.elapsed)")
        }
        #expect(all == ["cancelled after 3.0 seconds", "4.0 seconds"])
    }
}

private final class Notes: Sendable {
    private let notes = Mutex<[String]>([])
    var all: [String] { notes.withLock { $0 } }
    func add(_ note: String) { notes.withLock { $0.append(note) } }
}
