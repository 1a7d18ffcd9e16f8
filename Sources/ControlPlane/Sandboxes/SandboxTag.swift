internal import Postgres

/// The metadata by which a sandbox at a provider is known as ours.
package enum SandboxTag {
    package static let deployment = "breakwater.deployment"
    package static let tenant = "breakwater.tenant"
    package static let sandbox = "breakwater.sandbox"

    static func all(
        _ deployment: String, _ tenant: Tenant.ID, _ sandbox: UUID
    ) -> [(name: String, value: String)] {
        [
            (Self.deployment, deployment), (Self.tenant, tenant.description),
            (Self.sandbox, sandbox.description),
        ]
    }

    /// What a tenant may not set itself.
    package static func isOurs(_ name: String) -> Bool { name.hasPrefix("breakwater.") }
}
