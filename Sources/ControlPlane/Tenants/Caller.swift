package import Postgres

/// Who calls: what a verified key stands for.
package struct Caller: Hashable, Sendable {
    package let tenant: Tenant.ID
    /// The key's id, the actor of whatever the caller does: `key:ID`.
    package let keyID: String
    package let scopes: Scopes
    package let expiresAt: Timestamp?

    package var actor: String { "key:" + keyID }
    package var isOperator: Bool { scopes.contains(.operator) }

    package init(tenant: Tenant.ID, keyID: String, scopes: Scopes, expiresAt: Timestamp? = nil) {
        self.tenant = tenant
        self.keyID = keyID
        self.scopes = scopes
        self.expiresAt = expiresAt
    }
}
