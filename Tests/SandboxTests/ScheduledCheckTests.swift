import ControlPlane
import IO
import JSON
import Postgres
import ServiceSupport
import Simulator
import TestSupport
import Testing

@Suite struct `Scheduled checks` {
    private static func targets(_ fleet: Fleet) -> TargetSource {
        let (tenant, target) = (fleet.tenant, fleet.target)
        return TargetSource(
            find: { owner, region in owner == tenant && region == "us" ? target : nil },
            all: { [(tenant, target), (tenant, target)] })
    }

    private static func sample(_ fleet: Fleet, size: Int = 20) -> SandboxSampleJob {
        var settings = SandboxSampleJob.Settings()
        settings.size = size
        settings.call = .seconds(30)
        return SandboxSampleJob(
            fleet.creations, targets: targets(fleet), settings: settings,
            tell: { fleet.told.note($0) })
    }

    @Test(.proves("F5", "D2")) func `of running sandboxes find the dead ones, by reads alone`()
        async throws
    {
        try await Fleet.with { fleet in
            var ends: [UUID: String] = [:]
            for _ in 0..<3 { _ = try await fleet.create() }
            try await fleet.setFaults(`A health check`.zombie(.portClosed))
            let dead = try await fleet.create()
            try await fleet.setFaults("[]")
            let gone = try await fleet.create()
            _ = try await fleet.ask("DELETE", "/sandboxes/\(gone.answer.id)")
            for row in try await fleet.rows() where row.id != gone.sandbox.id {
                ends[row.id] = try await fleet.ask("GET", "/sandboxes/\(row.providerID ?? "")")[
                    "endAt"]?.string
            }
            let before = try await fleet.ask("GET", "/_sim")["byRegion"]?["us"]
            let report = JSONValue(try await Self.sample(fleet).run(fleet.plane.reads))
            #expect(report?["healthy"]?.integer == 3 && report?["zombie"]?.integer == 1)
            #expect(report?["gone"]?.integer == 1 && report?["unknown"] == nil)
            for row in try await fleet.rows() where row.id != gone.sandbox.id {
                #expect(row.state == .running)
                #expect(row.health == (row.id == dead.sandbox.id ? .zombie : .healthy))
                let there = try await fleet.ask("GET", "/sandboxes/\(row.providerID ?? "")")
                #expect(there["endAt"]?.string == ends[row.id])
            }
            let told = fleet.told.events.filter { $0.name == "sandbox_health_check_failed" }
            #expect(told.count == 1)
            // Nothing but reads.
            let after = try await fleet.ask("GET", "/_sim")["byRegion"]?["us"]
            for operation in ["create", "kill", "timeout", "connect", "command"] {
                #expect(after?[operation] == before?[operation], "\(operation)")
            }
            // Again says nothing new, but of the dead one.
            let versions = try await fleet.rows().map(\.version)
            _ = try await Self.sample(fleet).run(fleet.plane.reads)
            #expect(try await fleet.rows().map(\.version) == versions)
            try fleet.checkInvariants()
        }
    }

    @Test(.proves("F5")) func `look at no more than their sample`() async throws {
        try await Fleet.with { fleet in
            for _ in 0..<5 { _ = try await fleet.create() }
            let report = JSONValue(try await Self.sample(fleet, size: 2).run(fleet.plane.reads))
            #expect(report?["healthy"]?.integer == 2)
            #expect(try await fleet.rows().count { $0.health == .healthy } == 2)
        }
    }

    private static func probe(_ fleet: Fleet, perDay: Int = 24) -> ProbeJob {
        var settings = ProbeJob.Settings()
        settings.perDay = perDay
        return ProbeJob(
            fleet.creations, targets: targets(fleet), killing: fleet.killing, settings: settings,
            tell: { fleet.told.note($0) })
    }

    @Test(.proves("F5")) func `make, try and kill a sandbox in each place, once`() async throws {
        try await Fleet.with { fleet in
            let report = JSONValue(try await Self.probe(fleet).run(fleet.plane.reads))
            #expect(report?["probed"]?.integer == 1 && report?["failed"] == nil)
            #expect(fleet.told.events.last?.name == "provider_probe_ok")
            #expect(try await fleet.live().isEmpty)
            #expect(try await fleet.rows().isEmpty)
            // It costs its tenant nothing.
            #expect(try await fleet.plane.ledger.count("sandbox_create", for: fleet.tenant) == 0)
            #expect(Self.probe(fleet).interval == .seconds(3600))
        }
    }

    @Test(
        .proves("F5"),
        arguments: [
            (#"[{"effects": [{"effect": "error", "status": 503}]}]"#, "create"),
            (#"[{"effects": [{"effect": "zombie", "mode": "nonZeroExit"}]}]"#, "check"),
            (#"[{"operations": ["kill"], "effects": [{"effect": "error", "status": 500}]}]"#, "kill"),
        ])
    func `say how far a probe came`(faults: String, stage: String) async throws {
        try await Fleet.with(faults: faults) { fleet in
            let report = JSONValue(try await Self.probe(fleet).run(fleet.plane.reads))
            #expect(report?["failed"]?.integer == 1)
            let event = try #require(fleet.told.events.last)
            #expect(event.name == "provider_probe_failed" && event.level == .error)
            #expect(event.fields.first { $0.name == "stage" }?.value == .text(stage))
            // What it could not kill is the reaper's to find: it is tagged, and has no row.
            try await fleet.setFaults("[]")
            _ = try await fleet.pass()
            #expect(try await fleet.settle())
            #expect(try await fleet.live().isEmpty)
        }
    }

    @Test(.proves("F5")) func `make nothing without a budget, or where nothing may be killed`()
        async throws
    {
        try await Fleet.with { fleet in
            _ = try await Self.probe(fleet, perDay: 0).run(fleet.plane.reads)
            _ = try await fleet.killing.set(isOn: false, reason: nil, by: .system)
            _ = try await Self.probe(fleet).run(fleet.plane.reads)
            #expect(try await fleet.ask("GET", "/_sim")["byRegion"]?["us"]?["create"] == nil)
        }
    }
}
