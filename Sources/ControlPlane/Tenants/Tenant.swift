package import Postgres

/// One customer of this deployment.
package struct Tenant: Hashable, Sendable {
    package struct ID: Hashable, Sendable, CustomStringConvertible {
        package let uuid: UUID
        package init(_ uuid: UUID) { self.uuid = uuid }
        package init?(_ text: String) {
            guard let uuid = UUID(text) else { return nil }
            self.uuid = uuid
        }
        package var description: String { uuid.description }

        /// The reserved tenant whose keys are the operators'.
        package static let fleet = ID(UUID(high: 0, low: 0))
    }

    package let id: ID
    package let name: String
    package let createdAt: Timestamp
    /// While set, its keys are refused.
    package let suspendedAt: Timestamp?
    package let suspendedReason: String?
    /// Set for good: a job removes its rows.
    package let deletedAt: Timestamp?

    init(_ row: Row) throws(PostgresError) {
        id = ID(try row.uuid("id"))
        name = try row.text("name")
        createdAt = try row.timestamp("created_at")
        suspendedAt = try row.timestampIfPresent("suspended_at")
        suspendedReason = try row.textIfPresent("suspended_reason")
        deletedAt = try row.timestampIfPresent("deleted_at")
    }
}

/// What a key may do.
package struct Scopes: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    /// Record, check and acquire.
    package static let record = Scopes(rawValue: 1)
    /// Create, use and end sandboxes.
    package static let sandbox = Scopes(rawValue: 2)
    /// Read what the tenant has.
    package static let read = Scopes(rawValue: 4)
    /// Administer the own tenant.
    package static let admin = Scopes(rawValue: 8)
    /// Administer the fleet; only keys of the fleet tenant have it, and no other.
    package static let `operator` = Scopes(rawValue: 16)

    private static let named: [(String, Scopes)] = [
        ("record", .record), ("sandbox", .sandbox), ("read", .read), ("admin", .admin),
        ("operator", .operator),
    ]

    /// The scope of that name; nil if there is none.
    package init?(_ name: String) {
        guard let scope = Self.named.first(where: { $0.0 == name }) else { return nil }
        self = scope.1
    }

    init(_ names: [String]) {
        self = names.reduce(into: []) { scopes, name in
            if let scope = Scopes(name) { scopes.insert(scope) }
        }
    }

    package var names: [String] { Self.named.filter { contains($0.1) }.map(\.0) }
    package static var allNames: [String] { named.map(\.0) }
}
