internal import JSON
package import Postgres

/// One place of a provider where a tenant's sandboxes are made.
package struct Region: Hashable, Sendable {
    package let tenant: Tenant.ID
    package let name: String
    /// Rises with each change; the wire's ETag.
    package let version: Int64
    package let provider: String
    package let account: ProviderAccount
    /// The base of the provider's API, as `UpstreamURL` takes it.
    package let apiURL: String
    /// Of the data plane; `host` or `host:port`.
    package let domain: String
    /// One address of the data plane for all its sandboxes, as `UpstreamURL` takes it; nil: each has a host
    /// of its own under the domain.
    package let dataPlaneURL: String?
    private let sealedKey: [UInt8]
    /// The key's last 4 characters, where it is long enough for that.
    package let apiKeyHint: String?
    /// The lowest is asked first.
    package let priority: Int
    /// A template's name here to its id there.
    package let templates: [String: String]
    package let isEnabled: Bool
    package let createdAt: Timestamp
    package let updatedAt: Timestamp
    package let updatedBy: String

    init(_ row: Row) throws(PostgresError) {
        tenant = Tenant.ID(try row.uuid("tenant_id"))
        name = try row.text("name")
        version = try row.int64("version")
        provider = try row.text("provider")
        account = try ProviderAccount(row)
        apiURL = try row.text("api_url")
        domain = try row.text("domain")
        dataPlaneURL = try row.textIfPresent("data_plane_url")
        sealedKey = try row.bytes("api_key")
        apiKeyHint = try row.textIfPresent("api_key_hint")
        priority = Int(try row.int32("priority"))
        isEnabled = try row.bool("enabled")
        createdAt = try row.timestamp("created_at")
        updatedAt = try row.timestamp("updated_at")
        updatedBy = try row.text("updated_by")
        let text = Array(try row.json("templates").utf8)
        do throws(JSONError) {
            templates = try JSONReader.decode(StoredTemplates.self, from: text).byName
        } catch {
            throw .decode("templates: \(error.message)")
        }
    }

    /// The provider's id of a template; nil where the region does not have it. A region that names no
    /// template at all takes every name as it is.
    package func template(_ name: String) -> String? {
        templates.isEmpty ? name : templates[name]
    }

    /// The provider's key. For the call that needs it: it is not kept open.
    ///
    /// Throws `.secretUnreadable`.
    package func apiKey(_ secrets: SecretBox) throws(ControlPlaneError) -> String {
        try secrets.open(sealedKey, at: Self.place(of: name, tenant))
    }

    /// Where its key is kept.
    static func place(of name: String, _ tenant: Tenant.ID) -> SecretBox.Place {
        SecretBox.Place(tenant: tenant, table: "region", column: "api_key", row: name)
    }
}

extension Region: CustomStringConvertible, CustomReflectable {
    package var description: String { "\(tenant)/\(name)" }
    /// Without the key, sealed as it is.
    package var customMirror: Mirror {
        Mirror(self, children: ["name": name, "apiURL": apiURL, "version": version])
    }
}

private struct StoredTemplates: JSONReadable {
    var byName: [String: String] = [:]

    init(from reader: inout JSONReader) throws(JSONError) {
        var read: [String: String] = [:]
        try reader.readObject { key, reader throws(JSONError) in
            read[key.string] = try reader.readString(maxBytes: 1024)
        }
        byName = read
    }
}
