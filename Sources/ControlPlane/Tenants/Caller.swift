package import Postgres

/// Who calls: what a verified key stands for.
package struct Caller: Sendable {
    package let tenant: Tenant.ID
    /// The key's id, the actor of whatever the caller does: `key:ID`.
    package let keyID: String
    package let scopes: Scopes
    package let expiresAt: Timestamp?
    /// What its tenant has in hand here.
    package let load: TenantLoad

    package var actor: String { "key:" + keyID }
    package var isOperator: Bool { scopes.contains(.operator) }

    package init(
        tenant: Tenant.ID, keyID: String, scopes: Scopes, expiresAt: Timestamp? = nil,
        load: TenantLoad = TenantLoad()
    ) {
        self.tenant = tenant
        self.keyID = keyID
        self.scopes = scopes
        self.expiresAt = expiresAt
        self.load = load
    }
}
