import API
import ControlPlane
import HTTP
import IO
import JSON
import Postgres
import ServiceSupport
import TestSupport

// Calls that are sound in themselves, and fail for what was before them.
extension WrongCalls {
    static let region = #"{"apiUrl":"https://a.b","domain":"a.b","apiKey":"k"}"#

    /// Calls as one caller.
    struct Caller {
        let calls: WrongCalls
        let address: Address
        let key: String?

        @discardableResult func callAsFunction(
            _ operation: String, _ method: String, _ target: String, _ body: String? = nil,
            _ fields: String...
        ) async throws -> JSONValue? {
            try await calls.send(
                operation, WrongCalls.request(method, target, key: key, body: body, fields),
                to: address)
        }

        /// The call with a body, and with another under the same `Idempotency-Key`.
        func twice(
            _ operation: String, _ target: String, _ first: String, _ second: String
        ) async throws {
            for body in [first, second] {
                try await self(operation, "POST", target, body, "Idempotency-Key: \(operation)")
            }
        }
    }

    func byState(_ served: Served) async throws {
        let address = Address.tcp(host: "127.0.0.1", port: served.client.port)
        let (tenant, client) = try await served.tenant([.record, .read, .admin])
        let caller = Caller(calls: self, address: address, key: client.key)
        try await byRecords(caller)
        try await byPolicies(caller)
        try Session(Conninfo(url: served.plane.url)).run(
            """
            INSERT INTO sandbox (tenant_id, id, request_id, attempt, state, region, template)
            VALUES ('\(tenant)', gen_random_uuid(), gen_random_uuid(), 1, 'creating', 'eu', 'base')
            """)
        try await byTenants(
            Caller(calls: self, address: address, key: served.operatorKey), tenant)

        try await byAlerts(caller, tenant, served.plane.url)

        let (_, homeless) = try await served.tenant([.sandbox])
        try await Caller(calls: self, address: address, key: homeless.key)(
            "createSandbox", "POST", "/v1/sandboxes", #"{"template":"base"}"#)

        let (full, crowded) = try await served.tenant([.record, .admin, .sandbox])
        let (owner, maker) = try await served.tenant([.sandbox, .admin])
        try await FailingProvider.with { provider in
            for tenant in [owner, full] { try await provider.addRegion(of: tenant, served.plane) }
            try await bySandboxes(
                Caller(calls: self, address: address, key: maker.key), provider)
            try Session(Conninfo(url: served.plane.url)).run(
                """
                INSERT INTO operation (tenant_id, op, name)
                SELECT '\(full)', n, 'op' || n FROM generate_series(1, 1000) AS n
                """)
            try await byNames(Caller(calls: self, address: address, key: crowded.key))
        }
    }

    private func byRecords(_ call: Caller) async throws {
        try await call("listEvents", "GET", "/v1/events?tenant=\(Tenant.ID.fleet)")
        try await call("streamEvents", "GET", "/v1/events/stream?tenant=\(Tenant.ID.fleet)")
        let one = #"{"operation":"op","cost":1,"maxPerHour":1}"#
        for _ in 0..<2 { try await call("acquire", "POST", "/v1/rate-limits/acquire", one) }
        let large = one.replacing("cost\":1", with: "cost\":2")
        try await call("acquire", "POST", "/v1/rate-limits/acquire", large)
        try await call("startAttempt", "POST", "/v1/attempts", large)
        let (first, second) = (#"{"operation":"a"}"#, #"{"operation":"b"}"#)
        try await call.twice("recordRequest", "/v1/requests", first, second)
        try await call.twice("acquire", "/v1/rate-limits/acquire", first, second)
        try await call.twice("startAttempt", "/v1/attempts", first, second)
        for _ in 0..<2 {
            let made = try await call(
                "recordRequest", "POST", "/v1/requests", #"{"operation":"op","cost":2,"id":true}"#)
            let refund = "/v1/requests/\(made?["id"]?.text ?? "")/refund"
            try await call.twice("refundRequest", refund, #"{"cost":1}"#, #"{"cost":2}"#)
            try await call("refundRequest", "POST", refund, "{}")
        }
    }

    private func byPolicies(_ call: Caller) async throws {
        let policy = #"{"limits":[{"limit":2,"windowS":3600}]}"#
        let override =
            #"{"limits":[{"limit":3,"windowS":3600}],"expiresAt":"2999-01-01T00:00:00Z","reason":"r"}"#
        let target = "/v1/policies/op"
        for _ in 0..<2 { try await call("putPolicy", "PUT", target, policy) }
        try await call("deletePolicy", "DELETE", target)
        let old = #"If-Match: "999""#
        try await call("putPolicy", "PUT", target, policy, old)
        for field in [old, "If-Match: 999"] {
            try await call("deletePolicy", "DELETE", target, nil, field)
        }
        try await call("putPolicyOverride", "PUT", target + "/override", override, old)
        try await call("changeSettings", "PATCH", "/v1/settings", #"{"maxAttempts":2}"#, old)
    }

    private func byTenants(_ call: Caller, _ tenant: Tenant.ID) async throws {
        let tenants = "/v1/admin/tenants"
        for _ in 0..<2 { try await call("createTenant", "POST", tenants, #"{"name":"taken"}"#) }
        try await call.twice("createTenant", tenants, #"{"name":"a"}"#, #"{"name":"b"}"#)
        let made = try await call("createTenant", "POST", tenants, #"{"name":"going"}"#)
        let going = "\(tenants)/\(made?["id"]?.text ?? "")"
        for tenant in [going, "\(tenants)/\(Tenant.ID.fleet)"] {
            try await call("deleteTenant", "DELETE", tenant + "?confirm=going")
            try await call("suspendTenant", "POST", tenant + "/suspend", "{}")
        }
        try await call("deleteTenant", "DELETE", going + "?confirm=going")
        try await call("resumeTenant", "POST", going + "/resume", "{}")

        let region = "\(tenants)/\(tenant)/regions/eu"
        for _ in 0..<2 { try await call("putTenantRegion", "PUT", region, Self.region) }
        try await call("deleteTenantRegion", "DELETE", region)
        let old = #"If-Match: "999""#
        try await call("putTenantRegion", "PUT", region, Self.region, old)
        try await call("deleteTenantRegion", "DELETE", region, nil, old)
        try await call("deleteTenantRegion", "DELETE", region, nil, "If-Match: *")

        let keys = "\(tenants)/\(tenant)/keys"
        let (first, second) = (#"{"scopes":["read"]}"#, #"{"scopes":["record"]}"#)
        try await call.twice("createKey", keys, first, second)
        let key = try await call("createKey", "POST", keys, first)
        let own = "\(keys)/\(key?["id"]?.text ?? "")"
        try await call.twice("rotateKey", own + "/rotate", #"{"overlapS":1}"#, #"{"overlapS":2}"#)
        try await call("revokeKey", "DELETE", own)
        try await call("rotateKey", "POST", own + "/rotate", "{}")
    }

    private func bySandboxes(_ call: Caller, _ provider: FailingProvider) async throws {
        let (sandboxes, base) = ("/v1/sandboxes", #"{"template":"base"}"#)
        try await call.twice("createSandbox", sandboxes, base, #"{"template":"other"}"#)
        let made = try await call("createSandbox", "POST", sandboxes, base)
        let own = "\(sandboxes)/\(made?["id"]?.text ?? "")"
        try await call("killSandbox", "DELETE", own)
        try await call("setSandboxTimeout", "POST", own + "/timeout", #"{"timeoutMs":60000}"#)
        try await call("checkSandbox", "POST", own + "/health-checks", "{}")

        try await provider.fail(with: 400)
        try await call("createSandbox", "POST", sandboxes, base)
        try await provider.fail(with: 500)
        let (once, soon) = (#""maxAttempts":1"#, #""deadlineMs":1000"#)
        for bound in [once, soon] {
            try await call(
                "createSandbox", "POST", sandboxes, base.replacing("}", with: ",\(bound)}"))
        }

        let breaker = "/v1/breakers/e2b:us:create"
        try await call("forceBreakerOpen", "POST", breaker + "/force-open", "{}")
        try await call("createSandbox", "POST", sandboxes, base)
        try await call("resetBreaker", "POST", breaker + "/reset", "{}")

        let policy = "/v1/policies/sandbox_create"
        for limit in [0, 1] {
            try await call(
                "putPolicy", "PUT", policy, #"{"limits":[{"limit":\#(limit),"windowS":3600}]}"#,
                limit == 1 ? "If-Match: *" : "If-None-Match: *")
            try await call("createSandbox", "POST", sandboxes, base)
        }
    }

    /// As a tenant that has all the operation names that it may have.
    private func byNames(_ call: Caller) async throws {
        let more = #"{"operation":"one_more"}"#
        try await call("recordRequest", "POST", "/v1/requests", more)
        try await call("acquire", "POST", "/v1/rate-limits/acquire", more)
        try await call("startAttempt", "POST", "/v1/attempts", more)
        try await call("createSandbox", "POST", "/v1/sandboxes", #"{"template":"base"}"#)
        try await call(
            "putPolicy", "PUT", "/v1/policies/one_more", #"{"limits":[{"limit":2,"windowS":3600}]}"#
        )
    }
}
