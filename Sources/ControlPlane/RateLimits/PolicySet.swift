internal import IO
internal import JSON
internal import Postgres

/// A tenant's policies as one instance knows them; outdated as soon as the database says so.
package struct PolicySet: Hashable, Sendable {
    struct Rule: Hashable, Sendable {
        let limits: [Limit]
        let override: [Limit]?
        /// When `override` ends, on this machine's monotonic clock.
        let overrideUntil: MonotonicInstant
        let admitsOnOutage: Bool
        /// Its key also writes the log of long windows.
        let isLong: Bool

        func limits(at now: MonotonicInstant) -> [Limit] {
            if let override, now < overrideUntil { return override }
            return limits
        }
    }

    /// Rises with every change; 0 for a tenant that never had a policy or default.
    let version: Int64
    /// The hourly limit of operations without a policy.
    let defaultMaxPerHour: Int64?
    /// All operations together are counted as well.
    let countsAll: Bool
    /// What the tenant has set for its sandboxes.
    let settings: TenantSettings
    /// When it was asked for: no change from before it is missing here.
    let readAt: MonotonicInstant
    /// By operation, `*` among them.
    private let rules: [String: Rule]

    /// Of a tenant that was never asked for.
    static let none = PolicySet.empty(readAt: MonotonicInstant(nanoseconds: .min / 2))

    static func empty(readAt: MonotonicInstant) -> PolicySet {
        PolicySet(
            version: 0, defaultMaxPerHour: nil, countsAll: false, readAt: readAt, rules: [:])
    }

    init(
        version: Int64, defaultMaxPerHour: Int64?, countsAll: Bool,
        settings: TenantSettings = TenantSettings(), readAt: MonotonicInstant, rules: [String: Rule]
    ) {
        self.version = version
        self.defaultMaxPerHour = defaultMaxPerHour
        self.countsAll = countsAll
        self.settings = settings
        self.readAt = readAt
        self.rules = rules
    }

    var operations: [String] { rules.keys.sorted() }

    /// The policy's limits or the default, then the tenant's, then the caller's own.
    func limits(
        for operation: String, maxPerHour: Int64?, standard: Int64?,
        at now: MonotonicInstant = .now
    ) -> [AppliedLimit] {
        var applied: [AppliedLimit] = []
        if let rule = rules[operation] {
            applied = rule.limits(at: now).map { AppliedLimit(.operation, $0) }
        } else if let limit = defaultMaxPerHour ?? standard {
            applied = [AppliedLimit(.standard, Limit(limit: limit, window: 3600))]
        }
        if let tenant = rules["*"] {
            applied += tenant.limits(at: now).map { AppliedLimit(.tenant, $0) }
        }
        if let maxPerHour {
            applied.append(AppliedLimit(.call, Limit(limit: maxPerHour, window: 3600)))
        }
        return applied
    }

    /// The logs beside the plain one in which a call is recorded; bits as `bw_decide` takes them.
    func logs(for operation: String) -> Int16 {
        (countsAll ? 1 : 0) | (rules[operation]?.isLong == true ? 2 : 0)
            | (countsAll && rules["*"]?.isLong == true ? 4 : 0)
    }

    /// Whether a policy of the operation wants calls admitted while the database is away.
    func admitsOnOutage(_ operation: String) -> Bool {
        rules[operation]?.admitsOnOutage ?? rules["*"]?.admitsOnOutage ?? false
    }
}

extension Statement {
    fileprivate static let policySets = Statement(
        "policy_sets", "SELECT * FROM bw_tenant_policies($1)")
}

/// The policies of some tenants.
func policySets(
    of tenants: [Tenant.ID], _ pipeline: Pipeline
) async -> [Result<PolicySet, PostgresError>] {
    struct Draft {
        let version: Int64
        let defaultMaxPerHour: Int64?
        let countsAll: Bool
        let settings: TenantSettings
        var rules: [String: PolicySet.Rule] = [:]
    }
    do throws(PostgresError) {
        let now = MonotonicInstant.now
        var drafts: [Tenant.ID: Draft] = [:]
        for row in try await pipeline.execute(.policySets, [.uuids(tenants.map(\.uuid))]) {
            let tenant = Tenant.ID(try row.uuid("tenant_id"))
            var draft: Draft
            if let found = drafts[tenant] {
                draft = found
            } else {
                draft = Draft(
                    version: try row.int64("version"),
                    defaultMaxPerHour: try row.int64IfPresent("default_max_per_hour"),
                    countsAll: try row.bool("counts_all"),
                    settings: TenantSettings(stored: try row.json("settings")))
            }
            if let operation = try row.textIfPresent("operation") {
                draft.rules[operation] = try PolicySet.Rule(row, now: now)
            }
            drafts[tenant] = draft
        }
        return tenants.map { tenant in
            guard let draft = drafts[tenant] else { return .success(.empty(readAt: now)) }
            return .success(
                PolicySet(
                    version: draft.version, defaultMaxPerHour: draft.defaultMaxPerHour,
                    countsAll: draft.countsAll, settings: draft.settings, readAt: now,
                    rules: draft.rules))
        }
    } catch {
        return tenants.map { _ in .failure(error) }
    }
}

extension PolicySet.Rule {
    fileprivate init(_ row: Row, now: MonotonicInstant) throws(PostgresError) {
        limits = try storedLimits(try row.json("limits"))
        let override = try row.jsonIfPresent("override")
        if let override {
            self.override = try storedLimits(override)
        } else {
            self.override = nil
        }
        overrideUntil = now.advanced(by: .milliseconds(try row.int64IfPresent("override_ms") ?? 0))
        admitsOnOutage = try row.text("on_outage") == "allow"
        isLong = try row.bool("is_long")
    }
}

/// Limits from their column; what cannot be read is a fault of ours.
func storedLimits(_ text: String) throws(PostgresError) -> [Limit] {
    do throws(JSONError) {
        return try JSONReader.decode(StoredLimits.self, from: Array(text.utf8)).limits
    } catch {
        throw .decode("limits: \(error.message)")
    }
}
