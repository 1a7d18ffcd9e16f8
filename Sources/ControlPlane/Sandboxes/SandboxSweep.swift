package import Postgres

/// Settles what time decides: requests whose instance is gone, and lives that are over.
package struct SandboxSweep: Job {
    package let name = "sandboxes.sweep"
    package let interval: Duration
    private let store: SandboxStore
    /// How old a try must be that stands as under way though its request is over: a call that outlives
    /// its request comes to its end by itself.
    private let tryAge: Duration
    /// How long an instance may be silent before its requests are settled.
    private let silence: Duration
    /// Rows of one statement.
    private static let chunk = 500

    package init(
        _ store: SandboxStore, interval: Duration = .seconds(5), tryAge: Duration = .seconds(45),
        silence: Duration = Heartbeat.Settings().silence
    ) {
        self.store = store
        self.interval = interval
        self.tryAge = tryAge
        self.silence = silence
    }

    package func run(_ pipeline: Pipeline) async throws(ControlPlaneError) -> String {
        // One of the three that fails holds the others up no more than a region does.
        let ended = await result { () throws(ControlPlaneError) in
            try await store.expireSandboxes(limit: Self.chunk)
        }
        let left = await result { () throws(ControlPlaneError) in
            try await store.expireTries(olderThan: tryAge, limit: Self.chunk)
        }
        let (requests, overdue) = try await store.expireRequests(
            limit: Self.chunk, silence: silence)
        return report([
            ("requests", requests), ("tries", try overdue + left.get()),
            ("sandboxes", try ended.get()),
        ])
    }

    private func result(
        _ step: () async throws(ControlPlaneError) -> Int
    ) async -> Result<Int, ControlPlaneError> {
        do throws(ControlPlaneError) { return .success(try await step()) } catch {
            return .failure(error)
        }
    }
}
