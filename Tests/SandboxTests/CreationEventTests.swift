import ControlPlane
import IO
import JSON
import Postgres
import TestSupport
import Testing

@Suite struct `The events of creating a sandbox` {
    private static func names(_ fleet: Fleet) -> [String] { fleet.told.events.map(\.name) }

    private static func field(_ event: Event, _ name: String) -> Event.Value? {
        event.fields.first { $0.name == name }?.value
    }

    @Test(.proves("F1", "F8")) func `are the original's, with its fields`() async throws {
        let faults = #"[{"limit": 1, "effects": [{"effect": "error", "status": 500}]}]"#
        try await Fleet.with(faults: faults) { fleet in
            let made = try await fleet.create()
            #expect(
                Self.names(fleet) == [
                    "sandbox_create_start", "sandbox_create_failure", "sandbox_create_success",
                ])
            let events = fleet.told.events
            #expect(events[0].message == "[E2B_METRICS] sandbox_create_start")
            #expect(Self.field(events[0], "framework") == .text("nextjs"))
            #expect(Self.field(events[0], "template") == .text("base"))
            #expect(Self.field(events[0], "circuitBreakerState") == .text("CLOSED"))
            #expect(Self.field(events[1], "attempt") == .integer(1))
            #expect(Self.field(events[1], "error") != nil)
            #expect(Self.field(events[2], "attempt") == .integer(2))
            #expect(Self.field(events[2], "sandboxId") == .text(made.answer.id))
            for event in events {
                guard case .integer(let at)? = Self.field(event, "timestamp") else {
                    Issue.record("no timestamp")
                    continue
                }
                #expect(abs(at - Timestamp.now.milliseconds) < 60_000)
                #expect(Self.field(event, "tenant") == .text(fleet.tenant.description))
                #expect(Self.field(event, "region") == .text("us"))
            }
        }
    }

    @Test(.proves("F1")) func `tell of each failed try, and once when all is tried`() async throws {
        try await Fleet.with(
            faults: #"[{"effects": [{"effect": "error", "status": 500}]}]"#
        ) { fleet in
            _ = await fleet.creations.create(fleet.order())
            #expect(
                Self.names(fleet)
                    == ["sandbox_create_start"]
                    + Array(repeating: "sandbox_create_failure", count: 3)
                    + ["sandbox_create_critical_failure"])
            #expect(fleet.told.events.last?.level == .error)
        }
    }
}
