import ControlPlane
import Postgres
import ServiceSupport
import TestSupport
import Testing

@Suite struct `Changing the key that seals secrets` {
    @Test(.proves("H9"))
    func `seals all again that opens, and says what does not`() async throws {
        try await Plane.with { plane in
            let keys = try (1...3).map { number in
                try #require(SecretKey(octets: Array(repeating: UInt8(number), count: 32)))
            }
            let (old, new, lost) = (keys[0], keys[1], keys[2])
            let draft = Regions.Draft(
                apiURL: "https://api.example", domain: "a.example", apiKey: "a provider's key")
            // More than one transaction takes.
            for _ in 0..<5 {
                let tenant = try await plane.makeTenant()
                for number in 0..<Regions.mostPerTenant {
                    let key = number == 0 ? lost : number == 1 ? new : old
                    _ = try await Regions(plane.reads, SecretBox(key)).put(
                        "r\(number)", draft, of: tenant, if: .none, by: .system)
                }
            }
            let box = SecretBox(new, previous: [old])
            let rotation = SecretRotation(plane.reads, box)
            let before = try await rotation.state()
            #expect(before.values == [old.id: 240, new.id: 5, lost.id: 5])
            #expect(before.keyID == new.id && before.previous == [old.id] && before.lost == 5)
            #expect(try await rotation.rotate(by: .system) == 240)
            #expect(try await rotation.rotate(by: .system) == 0)
            let after = try await rotation.state()
            #expect(after.values == [new.id: 245, lost.id: 5])

            // The old key is not needed any more.
            let tenant = try #require(
                try await plane.directory.tenants(after: .fleet, limit: 1).first?.id)
            for region in try await Regions(plane.reads, SecretBox(new)).list(of: tenant)
            where region.name != "r0" {
                #expect(try region.apiKey(SecretBox(new)) == "a provider's key")
            }
            let audit = try await plane.directory.audit(of: .fleet, before: nil, limit: 5)
            #expect(audit.contains { $0.action == "secrets.rotate" && $0.detail.contains("240") })
            await #expect(throws: ControlPlaneError.secretKeyNeeded) {
                try await SecretRotation(plane.reads, SecretBox(nil, previous: [old])).rotate(
                    by: .system)
            }
        }
    }
}
