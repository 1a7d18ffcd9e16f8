internal import ControlPlane
internal import HTTP
internal import JSON
internal import Postgres

/// Tenants, keys and the audit log.
struct TenantRoutes {
    let endpoint: Endpoint
    private var directory: Directory { endpoint.services.directory }
    private var settings: APISettings { endpoint.services.settings }

    var all: [Route] { tenants + keys + [audit] }

    private var tenants: [Route] {
        let (directory, settings) = (directory, settings)
        return [
            endpoint.route(.get, "/v1/admin/tenants", "listTenants", .operator) {
                call throws(Failure) in
                let (limit, after) = try Cursor.page(
                    try call.query("limit", "cursor"), of: "tenants", settings)
                let page = try await domain { () throws(ControlPlaneError) in
                    try await directory.tenants(
                        after: after.flatMap { Tenant.ID($0) }, limit: limit + 1)
                }
                return list("tenants", page, limit, last: \.id.description, write)
            },
            endpoint.route(.post, "/v1/admin/tenants", "createTenant", .operator) {
                call throws(Failure) in
                let input = try call.body(TenantInput.self)
                let idempotency = try call.idempotency()
                let made = try await domain { () throws(ControlPlaneError) in
                    try await directory.createTenant(
                        name: input.name, by: call.actor, idempotency: idempotency)
                }
                return created(
                    at: "/v1/admin/tenants/\(made.value.id)", isReplay: made.isReplay
                ) { write(made.value, &$0) }
            },
            endpoint.route(.get, "/v1/admin/tenants/{tenantId}", "getTenant", [.operator, .admin]) {
                call throws(Failure) in
                let id = try call.tenant()
                _ = try call.query()
                let tenant = try await domain { () throws(ControlPlaneError) in
                    try await directory.tenant(id)
                }
                var writer = JSONWriter()
                write(tenant, &writer)
                return .json(writer.bytes)
            },
        ]
    }

    private var keys: [Route] {
        let (directory, settings) = (directory, settings)
        let scopes: Scopes = [.operator, .admin]
        return [
            endpoint.route(.get, "/v1/admin/tenants/{tenantId}/keys", "listKeys", scopes) {
                call throws(Failure) in
                let tenant = try call.tenant()
                let (limit, after) = try Cursor.page(
                    try call.query("limit", "cursor"), of: "keys", settings)
                let page = try await domain { () throws(ControlPlaneError) in
                    try await directory.keys(of: tenant, after: after, limit: limit + 1)
                }
                return list("keys", page, limit, last: \.id) { key, writer in
                    write(key, secret: nil, &writer)
                }
            },
            endpoint.route(.post, "/v1/admin/tenants/{tenantId}/keys", "createKey", scopes) {
                call throws(Failure) in
                let tenant = try call.tenant()
                let input = try call.body(KeyInput.self)
                let idempotency = try call.idempotency()
                let (key, secret) = try await domain { () throws(ControlPlaneError) in
                    try await directory.createKey(
                        for: tenant, name: input.name, scopes: input.scopes,
                        expiresAt: input.expiresAt, by: call.actor, idempotency: idempotency)
                }
                return created(key, secret, of: tenant)
            },
            endpoint.route(
                .get, "/v1/admin/tenants/{tenantId}/keys/{keyId}", "getKey", scopes
            ) { call throws(Failure) in
                let tenant = try call.tenant()
                _ = try call.query()
                let id = call.request.parameter("keyId") ?? ""
                let key = try await domain { () throws(ControlPlaneError) in
                    try await directory.key(id, of: tenant)
                }
                var writer = JSONWriter()
                write(key, secret: nil, &writer)
                return .json(writer.bytes)
            },
            endpoint.route(
                .post, "/v1/admin/tenants/{tenantId}/keys/{keyId}/rotate", "rotateKey", scopes
            ) { call throws(Failure) in
                let tenant = try call.tenant()
                let input = try call.bodyIfPresent(RotateInput.self)
                let idempotency = try call.idempotency()
                let id = call.request.parameter("keyId") ?? ""
                let (key, secret) = try await domain { () throws(ControlPlaneError) in
                    try await directory.rotateKey(
                        id, of: tenant, overlap: input.overlap, by: call.actor,
                        idempotency: idempotency)
                }
                return created(key, secret, of: tenant)
            },
            endpoint.route(
                .delete, "/v1/admin/tenants/{tenantId}/keys/{keyId}", "revokeKey", scopes
            ) { call throws(Failure) in
                let tenant = try call.tenant()
                let reason = try call.query("reason")["reason"]
                if let reason, reason.unicodeScalars.count > 500 || reason.contains("\0") {
                    throw .problem(
                        .invalid("reason", "must have at most 500 characters, none of them NUL"))
                }
                let id = call.request.parameter("keyId") ?? ""
                try await domain { () throws(ControlPlaneError) in
                    try await directory.revokeKey(id, of: tenant, reason: reason, by: call.actor)
                }
                return Response(.noContent)
            },
        ]
    }

    private var audit: Route {
        let (directory, settings) = (directory, settings)
        return endpoint.route(
            .get, "/v1/admin/tenants/{tenantId}/audit", "listAudit", [.operator, .admin]
        ) { call throws(Failure) in
            let tenant = try call.tenant()
            let (limit, before) = try Cursor.page(
                try call.query("limit", "cursor"), of: "audit", settings)
            let page = try await domain { () throws(ControlPlaneError) in
                try await directory.audit(
                    of: tenant, before: before.flatMap { UUID($0) }, limit: limit + 1)
            }
            return list("audit", page, limit, last: \.id.description, write)
        }
    }
}

private struct TenantInput: JSONReadable {
    let name: String

    init(from reader: inout JSONReader) throws(JSONError) {
        var name: String?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "name": name = try reader.readLabel(1...100)
            default: throw reader.unknownField(key)
            }
        }
        self.name = try reader.require(name, "name")
    }
}

private struct KeyInput: JSONReadable {
    let scopes: Scopes
    let name: String
    let expiresAt: Timestamp?

    init(from reader: inout JSONReader) throws(JSONError) {
        var scopes: Scopes?
        var name = ""
        var expiresAt: Timestamp?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "scopes": scopes = try reader.readScopes()
            case "name": name = try reader.readLabel(0...100)
            case "expiresAt": if try !reader.readNull() { expiresAt = try reader.readFuture() }
            default: throw reader.unknownField(key)
            }
        }
        self.scopes = try reader.require(scopes, "scopes")
        self.name = name
        self.expiresAt = expiresAt
    }
}

private struct RotateInput: JSONReadable {
    let overlap: Duration

    init(from reader: inout JSONReader) throws(JSONError) {
        var seconds = 86_400
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "overlapS": seconds = try reader.readInt(in: 0...604_800)
            default: throw reader.unknownField(key)
            }
        }
        overlap = .seconds(seconds)
    }
}

extension JSONReader {
    /// Text for people, by its number of characters; no control characters.
    mutating func readLabel(_ length: ClosedRange<Int>) throws(JSONError) -> String {
        let text = try readString(maxBytes: 4 * length.upperBound)
        guard length.contains(text.unicodeScalars.count),
            !text.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7f })
        else {
            throw failure(
                .length,
                "must have \(length.lowerBound) to \(length.upperBound) characters, none of them control characters"
            )
        }
        return text
    }

    fileprivate mutating func readScopes() throws(JSONError) -> Scopes {
        var scopes: Scopes = []
        try readArray(maxCount: 5) { _, reader throws(JSONError) in
            let name = try reader.readString(maxBytes: 16)
            guard let scope = Scopes(name) else {
                throw reader.failure(
                    .range, "must be one of \(Scopes.allNames.joined(separator: ", "))")
            }
            guard !scopes.contains(scope) else {
                throw reader.failure(.range, "is there twice")
            }
            scopes.insert(scope)
        }
        if scopes.isEmpty { throw failure(.count, "must name at least one scope") }
        return scopes
    }

    mutating func readFuture() throws(JSONError) -> Timestamp {
        guard let time = Timestamp(try readString(maxBytes: 64)) else {
            throw failure(.range, "must be a time like 2030-01-31T12:00:00Z (RFC 3339)")
        }
        guard time > .now else { throw failure(.range, "must be in the future") }
        return time
    }
}

// MARK: Answers

/// A page of a list: `items` has one more than `limit` if there is a next page.
func list<Item>(
    _ name: String, _ items: [Item], _ limit: Int, last: (Item) -> String,
    _ write: (Item, inout JSONWriter) -> Void
) -> Response {
    let page = items.prefix(limit)
    var writer = JSONWriter(capacity: 4096)
    writer.object {
        $0.array("items") { writer in for item in page { write(item, &writer) } }
        let next = items.count > limit ? page.last.map { Cursor.encode(name, last($0)) } : nil
        $0.member("nextCursor", orNull: next)
    }
    return .json(writer.bytes)
}

private func created(
    at location: String, isReplay: Bool, _ write: (inout JSONWriter) -> Void
) -> Response {
    var writer = JSONWriter()
    write(&writer)
    var response = Response.json(writer.bytes, status: .created)
    response.fields.append(Field(.location, location))
    response.fields.append(Field(.cacheControl, "no-store"))
    if isReplay { response.fields.append(.replayed) }
    return response
}

private func created(
    _ key: Made<APIKey>, _ secret: APIKeySecret?, of tenant: Tenant.ID
) -> Response {
    created(
        at: "/v1/admin/tenants/\(tenant)/keys/\(key.value.id)", isReplay: key.isReplay
    ) { write(key.value, secret: secret, &$0) }
}

func write(_ tenant: Tenant, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("id", tenant.id.description)
        $0.member("name", tenant.name)
        $0.member("createdAt", tenant.createdAt.description)
        $0.member("suspendedAt", orNull: tenant.suspendedAt?.description)
        $0.member("suspendedReason", orNull: tenant.suspendedReason)
        $0.member("deletedAt", orNull: tenant.deletedAt?.description)
    }
}

private func write(_ key: APIKey, secret: APIKeySecret?, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("id", key.id)
        $0.member("key", ifPresent: secret?.text)
        $0.member("name", key.name)
        $0.member("scopes", key.scopes.names)
        $0.member("createdAt", key.createdAt.description)
        $0.member("createdBy", key.createdBy)
        $0.member("expiresAt", orNull: key.expiresAt?.description)
        $0.member("lastUsedAt", orNull: key.lastUsedAt?.description)
        $0.member("revokedAt", orNull: key.revokedAt?.description)
        $0.member("revokedReason", orNull: key.revokedReason)
        $0.member("replaces", orNull: key.replaces)
    }
}

private func write(_ entry: AuditEntry, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("id", entry.id.description)
        $0.member("at", entry.at.description)
        $0.member("actor", entry.actor)
        $0.member("action", entry.action)
        $0.member("target", entry.target)
        $0.member("reason", orNull: entry.reason)
        $0.member("detail", raw: Array(entry.detail.utf8))
        $0.member("requestId", orNull: entry.requestID)
        $0.member("address", orNull: entry.address)
    }
}
