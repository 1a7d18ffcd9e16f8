import Glibc
import IO
import JSON
import TestSupport
import Testing

/// Each has a request in hand that cannot end before the test lets go of a lock: it makes a
/// tenant, and the table is locked against writers.
@Suite(.proves("H3", "H9"), .timeLimit(.minutes(3))) struct `A signal to stop` {
    private static let patient = [
        "postgres.lockTimeoutMs": "60000", "postgres.statementTimeoutMs": "60000",
    ]

    /// Gives `body` an instance, the request that it has in hand, and what holds that up.
    private func withSlowRequest(
        set: [String: String] = [:],
        _ body:
            @Sendable (Instance, _ request: Task<Answer, any Error>, HeldLock) async throws -> Void
    ) async throws {
        try await Database.with { url, scratch in
            let instance = try await scratch.serve(
                database: url, set: set.merging(Self.patient) { given, _ in given })
            _ = try await instance.tenant("before")
            let lock = try await HeldLock.take(url, table: "tenant", mode: "EXCLUSIVE")
            let request = Task {
                try await instance.asOperator("POST", "/v1/admin/tenants", #"{"name":"slow"}"#)
            }
            try await eventually("the request waits for the lock") {
                try await Database.execute(
                    url,
                    """
                    SELECT count(*)::text FROM pg_stat_activity
                    WHERE  datname = current_database() AND wait_event_type = 'Lock'
                    """) == "1"
            }
            try await body(instance, request, lock)
            try await lock.release()
        }
    }

    @Test(arguments: [SIGTERM, SIGINT])
    func `lets the request in hand finish, and ends with 0`(_ signal: Int32) async throws {
        try await withSlowRequest { instance, request, lock in
            let idle = try instance.connect()
            #expect(try await idle.call("GET", "/livez").status == 200)
            instance.child.signal(signal)
            #expect(try await idle.isClosed())
            await #expect(throws: Failure.self) {
                _ = try await instance.call("GET", "/livez")
            }
            #expect(instance.child.state == nil)
            try await lock.release()
            let answer = try await request.value
            #expect(answer.status == 201)
            #expect(answer.fields["connection"] == "close")
            #expect(try await instance.child.ended(within: .seconds(10)) == .exited(0))
            let reason = try instance.logged("service_stopping").first?["reason"]?.text
            #expect(reason == (signal == SIGTERM ? "SIGTERM" : "SIGINT"))
            #expect(try instance.logged("service_stopped").count == 1)
            #expect(try instance.logged("database_lost").isEmpty)
        }
    }

    @Test func `is told to balancers before it stops accepting`() async throws {
        try await withSlowRequest(set: ["drainDelayS": "2"]) { instance, request, lock in
            let kept = try instance.connect()
            #expect(try await kept.call("GET", "/readyz").status == 200)
            instance.child.signal(SIGTERM)
            try await eventually("it is not ready") {
                try await instance.call("GET", "/readyz").status == 503
            }
            let answer = try await kept.call("GET", "/readyz")
            #expect(answer.status == 503)
            #expect(answer.json?["detail"]?.text == "not ready: stopping")
            #expect(try await kept.call("GET", "/livez").status == 200)
            #expect(try await instance.asOperator("GET", "/v1/whoami").status == 200)
            #expect(try await kept.isClosed())  // after the delay
            try await lock.release()
            #expect(try await request.value.fields["connection"] == "close")
            #expect(try await instance.child.ended(within: .seconds(10)) == .exited(0))
        }
    }

    @Test func `waits for a request no longer than its deadline`() async throws {
        try await withSlowRequest(set: ["drainS": "1"]) { instance, request, _ in
            let start = MonotonicInstant.now
            instance.child.signal(SIGTERM)
            let end = try await instance.child.ended(within: .seconds(30))
            #expect(end == .exited(0))
            let took = start.duration(to: .now)
            #expect(took >= .seconds(1) && took < .seconds(5), "took \(took)")
            await #expect(throws: Failure.self) { _ = try await request.value }
        }
    }

    @Test func `ends it at once when it comes again`() async throws {
        try await withSlowRequest { instance, request, _ in
            let start = MonotonicInstant.now
            instance.child.signal(SIGTERM)
            try await eventually("it is stopping") {
                try instance.logged("service_stopping").count == 1
            }
            instance.child.signal(SIGTERM)
            let end = try await instance.child.ended(within: .seconds(30))
            #expect(end == .exited(1))
            #expect(start.duration(to: .now) < .seconds(5))
            await #expect(throws: Failure.self) { _ = try await request.value }
        }
    }
}
