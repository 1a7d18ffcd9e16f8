import ControlPlane
import IO
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite(.proves("H9")) struct `The limiter of wrong keys` {
    private let start = MonotonicInstant.now
    private let address = IPAddress("192.0.2.7")

    private func limiter(perMinute: Int = 60, burst: Int = 3, addresses: Int = 100) -> FailedKeys {
        var settings = FailedKeys.Settings()
        (settings.perMinute, settings.burst, settings.addresses) = (perMinute, burst, addresses)
        return FailedKeys(settings, now: start)
    }

    @Test func `makes an address wait that has spent its burst, and no other`() {
        let limiter = limiter()
        for _ in 0..<3 {
            #expect(limiter.wait(for: address, at: start) == nil)
            limiter.note(address, at: start)
        }
        #expect(limiter.wait(for: address, at: start) == .seconds(1))
        #expect(limiter.wait(for: IPAddress("192.0.2.8"), at: start) == nil)
        #expect(limiter.wait(for: address, at: start.advanced(by: .milliseconds(1001))) == nil)
        // Never more than the burst, however long it was quiet.
        let later = start.advanced(by: .seconds(3600))
        for _ in 0..<3 { limiter.note(address, at: later) }
        #expect(limiter.wait(for: address, at: later) == .seconds(1))
    }

    @Test func `counts calls that failed together, up to a burst below nothing`() {
        let limiter = limiter()
        for _ in 0..<1000 { limiter.note(address, at: start) }
        #expect(limiter.wait(for: address, at: start) == .seconds(4))
    }

    @Test func `takes an IPv6 network of 64 bits for one client`() {
        let limiter = limiter()
        for host in 1...3 { limiter.note(IPAddress("2001:db8::\(host)"), at: start) }
        #expect(limiter.wait(for: IPAddress("2001:db8::ffff"), at: start) != nil)
        #expect(limiter.wait(for: IPAddress("2001:db8:0:1::1"), at: start) == nil)
        #expect(limiter.count == 1)
    }

    @Test func `watches a bounded number of addresses, and forgets those that are quiet`() {
        let limiter = limiter(addresses: 100)
        for host in 0..<100_000 { limiter.note(IPAddress(v4: UInt32(host)), at: start) }
        #expect(limiter.count == 100)
        // All beyond share a bucket, which is spent; who is watched has its own.
        #expect(limiter.wait(for: IPAddress(v4: 4_000_000), at: start) != nil)
        #expect(limiter.wait(for: IPAddress(v4: 1), at: start) == nil)
        let later = start.advanced(by: .seconds(60))
        limiter.note(address, at: later)
        #expect(limiter.count == 1)
        #expect(limiter.wait(for: IPAddress(v4: 4_000_000), at: later) == nil)
    }
}

@Suite(.proves("H9")) struct `A key from an address that tried too many` {
    private static let stranger: @Sendable () -> IPAddress? = { IPAddress("192.0.2.7") }

    private func unknown() -> [UInt8] {
        var random = SystemRandomNumberGenerator()
        return Array(APIKeySecret(using: &random).text.utf8)
    }

    private func key(_ plane: Plane) async throws -> [UInt8] {
        let tenant = try await plane.makeTenant()
        let (_, secret) = try await plane.directory.createKey(
            for: tenant, name: "", scopes: .record, expiresAt: nil, by: .system)
        return Array(try #require(secret).text.utf8)
    }

    @Test func `is not looked up, and works all the same if it is remembered`() async throws {
        try await Plane.with { plane in
            let failures = FailedKeys()
            let cache = KeyCache(on: plane.loop, pipeline: plane.reads, failures: failures)
            let (known, fresh) = (try await key(plane), try await key(plane))
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: plane.loop) { await cache.run() }
                _ = try await cache.caller(for: known, from: Self.stranger)
                await #expect(throws: ControlPlaneError.badCredentials) {
                    try await cache.caller(for: unknown(), from: Self.stranger)
                }
                // A minute's worth and more below nothing.
                for _ in 0..<200 { failures.note(Self.stranger()) }
                let lookups = await cache.lookupCount
                for wrong in [unknown(), Array("e2b_wrong".utf8), fresh] {
                    do throws(ControlPlaneError) {
                        _ = try await cache.caller(for: wrong, from: Self.stranger)
                        Issue.record("it was looked up")
                    } catch {
                        guard case .tooManyFailures(let wait) = error else { throw error }
                        #expect(wait > .zero && wait <= .seconds(51))
                    }
                }
                #expect(await cache.lookupCount == lookups)
                _ = try await cache.caller(for: known, from: Self.stranger)
                // From elsewhere, nothing has changed.
                _ = try await cache.caller(for: fresh, from: { IPAddress("192.0.2.8") })
                group.cancelAll()
            }
        }
    }

    @Test func `works when it must be looked up again`() async throws {
        try await Plane.with { plane in
            var settings = KeyCache.Settings()
            settings.lifetime = .zero
            let failures = FailedKeys()
            let cache = KeyCache(
                on: plane.loop, pipeline: plane.reads, settings: settings, failures: failures)
            let known = try await key(plane)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: plane.loop) { await cache.run() }
                _ = try await cache.caller(for: known, from: Self.stranger)
                for _ in 0..<100 { failures.note(Self.stranger()) }
                _ = try await cache.caller(for: known, from: Self.stranger)
                // Another key with that id is a guess.
                await #expect(throws: ControlPlaneError.self) {
                    try await cache.caller(for: unknown(), from: Self.stranger)
                }
                group.cancelAll()
            }
        }
    }
}

@Suite(.proves("H1")) struct `A revocation while an instance cannot ask for changes` {
    @Test func `holds there once it can, however long that was`() async throws {
        try await Plane.with { plane in
            var settings = KeyCache.Settings()
            settings.pollInterval = .milliseconds(50)
            // Any pause between two polls is too long, as a long one is by default.
            settings.changeSpan = .zero
            let cache = KeyCache(on: plane.loop, pipeline: plane.reads, settings: settings)
            let tenant = try await plane.makeTenant()
            let (made, secret) = try await plane.directory.createKey(
                for: tenant, name: "", scopes: .record, expiresAt: nil, by: .system)
            let key = Array(try #require(secret).text.utf8)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask(executorPreference: plane.loop) { await cache.run() }
                _ = try await cache.caller(for: key)
                // Changed too long ago for the poll to be told of it.
                try Session(Conninfo(url: plane.url)).execute(
                    """
                    UPDATE api_key SET revoked_at = now(), changed_at = now() - interval '1 hour'
                    WHERE  id = $1
                    """, .text(made.value.id))
                let start = MonotonicInstant.now
                while (try? await cache.caller(for: key)) != nil {
                    try #require(start.duration(to: .now) < .seconds(5))
                    try await Task.sleep(for: .milliseconds(5))
                }
                group.cancelAll()
            }
        }
    }
}

@Suite(.proves("H9")) struct `What a tenant has in hand` {
    @Test func `is counted exactly, and by one counter as long as somebody holds it`() {
        let loads = TenantLoads()
        let tenant = Tenant.ID(.v7())
        var load: TenantLoad? = loads.load(of: tenant)
        #expect(load?.enter(limit: 2) == true && load?.enter(limit: 2) == true)
        #expect(load?.enter(limit: 2) == false && load?.inFlight == 2)
        // Many others come and go; the one that is held stays.
        for _ in 0..<5_000 { _ = loads.load(of: Tenant.ID(.v7())) }
        #expect(loads.load(of: tenant) === load)
        load?.leave()
        #expect(load?.enter(limit: 2) == true)
        load = nil
        #expect(loads.load(of: tenant).inFlight == 0)
    }
}
