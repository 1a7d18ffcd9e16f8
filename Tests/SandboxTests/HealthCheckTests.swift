import ControlPlane
import Glibc
import IO
import JSON
import Outbound
import Postgres
import ServiceSupport
import Simulator
import Synchronization
import TestSupport
import Testing

@Suite struct `A health check` {
    /// How many checks of healthy sandboxes: a soak makes 10,000.
    static let checks = environmentNumber("BREAKWATER_HEALTH_CHECKS") ?? 300
    /// The shipped limit, where the machine does nothing else; beside hundreds of tests one that a busy
    /// machine keeps, too.
    static let limit: Duration =
        environmentNumber("BREAKWATER_HEALTH_CHECKS") == nil ? .seconds(30) : .seconds(5)

    static func zombie(_ mode: ZombieMode, limit: Int? = nil) -> String {
        let bound = limit.map { "\"limit\": \($0)," } ?? ""
        return #"[{\#(bound) "effects": [{"effect": "zombie", "mode": "\#(mode)"}]}]"#
    }

    /// One that gives up early, so that tests of what hangs take no 5 s each.
    private static func checker(_ fleet: Fleet, limit: Duration) -> HealthChecker {
        var settings = HealthChecker.Settings()
        settings.limit = limit
        return HealthChecker(
            on: fleet.plane.loop, fleet.creations.providers.http, settings: settings)
    }

    private static func place(_ fleet: Fleet, _ made: CreatedSandbox) throws -> DataPlaneAddress {
        try #require(
            DataPlaneAddress(made.answer, domain: nil, at: fleet.target.endpoint))
    }

    @Test(.proves("D2", "F8")) func `finds a sandbox that works`() async throws {
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            let check = await fleet.creations.health.check(try Self.place(fleet, made))
            #expect(check.verdict == .healthy && check.tries == 1 && check.reason == nil)
        }
    }

    @Test(.proves("D2"), arguments: ZombieMode.allCases)
    func `finds what is dead, in each way that is known`(mode: ZombieMode) async throws {
        try await Fleet.with(faults: Self.zombie(mode)) { fleet in
            let made = try await fleet.create()
            let hangs = [ZombieMode.commandsHang, .hangMidStream].contains(mode)
            let check = await Self.checker(fleet, limit: hangs ? .seconds(1) : Self.limit)
                .check(try Self.place(fleet, made))
            #expect(check.verdict == .zombie, "\(mode): \(check)")
            #expect(check.tries == 2 && check.reason?.isEmpty == false)
        }
    }

    @Test(.proves("D2")) func `finds one whose port refuses the connection`() async throws {
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            // A port that was free a moment ago.
            let listener = try Listener.open(.tcp(host: "127.0.0.1", port: 0))
            close(listener.descriptor)
            let endpoint = ProviderEndpoint(
                api: fleet.target.endpoint.api, apiKey: Fleet.key,
                dataPlane: UpstreamURL("http://\(listener.address)"))
            let place = try #require(DataPlaneAddress(made.answer, domain: nil, at: endpoint))
            let check = await fleet.creations.health.check(place)
            #expect(check.verdict == .zombie && check.reason?.contains("refused") == true)
        }
    }

    @Test(.proves("D2")) func `accuses nobody for what is not the sandbox's fault`() async throws {
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            // A name that is not there.
            let nowhere = ProviderEndpoint(
                api: fleet.target.endpoint.api, apiKey: Fleet.key, domain: "sandboxes.invalid")
            let lost = try #require(
                DataPlaneAddress(id: made.answer.id, token: nil, domain: nil, at: nowhere))
            let check = await Self.checker(fleet, limit: .milliseconds(800)).check(lost)
            #expect(check.verdict == .unknown, "\(check)")
            // An address that may not be called.
            let strict = try HTTPClient(on: fleet.plane.loop)
            let refused = await HealthChecker(on: fleet.plane.loop, strict)
                .check(try Self.place(fleet, made))
            #expect(refused.verdict == .unknown, "\(refused)")
            await strict.close()
            // Another's token.
            let place = try #require(
                DataPlaneAddress(
                    id: made.answer.id, token: "wrong", domain: nil, at: fleet.target.endpoint))
            #expect(await fleet.creations.health.check(place).verdict == .unknown)
        }
    }

    @Test(.proves("D2")) func `proves nothing when its time is cut short`() async throws {
        try await Fleet.with(faults: Self.zombie(.commandsHang)) { fleet in
            let made = try await fleet.create()
            let check = await fleet.creations.health.check(
                try Self.place(fleet, made), within: .milliseconds(200))
            #expect(check.verdict == .unknown, "\(check)")
        }
    }

    @Test(.proves("D2"), .timeLimit(.minutes(20)))
    func `accuses no healthy sandbox, slow as it may be`() async throws {
        // One in ten takes up to 4 of the 5 s, on its first try or its second.
        let faults = """
            [{"operations": ["command"], "rate": 0.1, "effects": [
              {"effect": "slow", "factor": 1, "addMs": 4000}, {"effect": "slow", "factor": 1, "addMs": 2600},
              {"effect": "slow", "factor": 1, "addMs": 700}]}]
            """
        try await Fleet.with(faults: faults) { fleet in
            let made = try await fleet.create()
            let place = try Self.place(fleet, made)
            let checker = Self.checker(fleet, limit: Self.limit)
            let left = Counter(Self.checks / 2)
            try await withThrowingTaskGroup(of: [HealthCheck].self) { group in
                for _ in 0..<25 {
                    group.addTask(executorPreference: fleet.plane.loop) {
                        var accused: [HealthCheck] = []
                        while left.take() {
                            let check = await checker.check(place)
                            if check.verdict != .healthy { accused.append(check) }
                        }
                        return accused
                    }
                }
                for try await accused in group { #expect(accused == []) }
            }
            #expect(await checker.counters.verdicts == [.healthy: Self.checks / 2])
        }
    }

    @Test(.proves("D2"), .timeLimit(.minutes(20)))
    func `accuses no healthy sandbox for one error on the way`() async throws {
        // Every fifth command meets a reset, a 502 of the edge, half an answer; the next one does not.
        let count = Self.checks - Self.checks / 2
        let effects = [
            #"{"effect": "reset"}"#, #"{"effect": "close"}"#, #"{"effect": "resetInBody"}"#,
            #"{"effect": "error", "status": 502, "format": "html"}"#, #"{"effect": "hang", "forS": 60}"#,
        ]
        // Each of the last kind takes half of the time: one in fifty.
        let faults = (0..<count / 5).map { index in
            let effect = index % 50 == 7 ? effects[4] : effects[index % 4]
            return
                #"{"operations": ["command"], "skip": \#(index * 6), "limit": 1, "effects": [\#(effect)]}"#
        }
        try await Fleet.with { fleet in
            let made = try await fleet.create()
            let place = try Self.place(fleet, made)
            var (retried, left) = (0, count)
            for chunk in stride(from: 0, to: faults.count, by: 60) {
                // The script takes so many faults at a time; each chunk counts its calls anew.
                let part = (0..<min(60, faults.count - chunk)).map { index in
                    faults[chunk + index].replacing(
                        "\"skip\": \((chunk + index) * 6)", with: "\"skip\": \(index * 6)")
                }
                try await fleet.setFaults("[\(part.joined(separator: ","))]")
                let checker = Self.checker(fleet, limit: Self.limit)
                for _ in 0..<min(left, 5 * part.count) {
                    let check = await checker.check(place)
                    #expect(check.verdict == .healthy, "\(check)")
                    retried += check.tries - 1
                    left -= 1
                }
            }
            #expect(left <= 5 && retried == faults.count)
        }
    }
}

/// How many are left, for tasks that share them.
private final class Counter: Sendable {
    private let left: Mutex<Int>
    init(_ count: Int) { left = Mutex(count) }
    func take() -> Bool {
        left.withLock { left in
            if left == 0 { return false }
            left -= 1
            return true
        }
    }
}
