internal import JSON
package import Postgres

/// Alerts, rules and silences in the database: what people see of them and do to them.
package struct Alerts: Sendable {
    /// Rules of a tenant beside the service's own.
    package static let mostRules = 50
    /// Silences of a tenant that have not ended.
    package static let mostSilences = 100

    let pipeline: Pipeline

    package init(_ pipeline: Pipeline) { self.pipeline = pipeline }

    /// Which alerts a list shows.
    package struct Filter: Hashable, Sendable {
        package var state: Alert.State?
        package var rule: String?
        /// Of every tenant; for operators.
        package var allTenants = false

        package init() {}
    }

    /// Alerts, the newest first; those before `before`.
    package func list(
        of tenant: Tenant.ID, _ filter: Filter, before: UUID?, limit: Int
    ) async throws(ControlPlaneError) -> [Alert] {
        let parameters: [Parameter] = [
            .uuid(filter.allTenants ? nil : tenant.uuid), .text(filter.state?.rawValue),
            .text(filter.rule), .uuid(before), .int8(Int64(limit)),
        ]
        let enter: [Pipeline.Step] = filter.allTenants ? [(.enterOperator, [])] : []
        return try decodeAll(try await run(tenant, enter + [(.alertPage, parameters)]), Alert.init)
    }

    /// Throws `.notFound`.
    package func alert(_ id: UUID, of tenant: Tenant.ID) async throws(ControlPlaneError) -> Alert {
        let rows = try await run(tenant, [(.alertByID, [.uuid(tenant.uuid), .uuid(id)])])
        guard let row = rows.first else { throw .notFound("alert") }
        return try decode(row, Alert.init)
    }

    /// Ends the repeats of an alert. Again changes nothing. Throws `.notFound`, `.conflict` for one that is
    /// resolved.
    package func acknowledge(
        _ id: UUID, of tenant: Tenant.ID, reason: String?, by actor: Actor
    ) async throws(ControlPlaneError) -> Alert {
        guard try await alert(id, of: tenant).state != .resolved else {
            throw .conflict("the alert is resolved")
        }
        let rows = try await run(
            tenant,
            [
                actor.audits("alert.acknowledge", id.description, of: tenant, reason: reason),
                (
                    .alertAcknowledge,
                    [.uuid(tenant.uuid), .uuid(id), .text(actor.name), .text(reason)]
                ),
            ])
        guard let row = rows.first else { throw .notFound("alert") }
        return try decode(row, Alert.init)
    }

    /// The rows of the last step.
    func run(
        _ tenant: Tenant.ID, _ steps: [Pipeline.Step]
    ) async throws(ControlPlaneError) -> Rows {
        do throws(PostgresError) {
            guard let last = try await pipeline.transaction(tenant: tenant.uuid, steps).last else {
                throw .decode("no answer")
            }
            return last
        } catch {
            throw .postgres(error)
        }
    }
}

// MARK: Rules

/// A rule as its tenant has it.
package struct NamedAlertRule: Hashable, Sendable {
    package let name: String
    package let rule: AlertRule
    /// One of the service's own names.
    package let isDefault: Bool
    /// Rises with each change; 0: as the service has it.
    package let version: Int64
    package let updatedAt: Timestamp?
    package let updatedBy: String?
}

extension Alerts {
    /// In order of their names.
    package func rules(of tenant: Tenant.ID) async throws(ControlPlaneError) -> [NamedAlertRule] {
        let defaults = AlertRule.defaults(of: tenant)
        var rules = defaults.mapValues { ($0, Int64(0), Timestamp?.none, String?.none) }
        let rows = try await run(tenant, [(.alertRules, [.uuid(tenant.uuid)])])
        do throws(PostgresError) {
            for row in rows {
                guard let rule = AlertRule(stored: try row.json("rule")) else { continue }
                rules[try row.text("name")] = (
                    rule, try row.int64("version"), try row.timestamp("updated_at"),
                    try row.text("updated_by")
                )
            }
        } catch {
            throw .postgres(error)
        }
        return rules.sorted { $0.key < $1.key }.map { name, found in
            NamedAlertRule(
                name: name, rule: found.0, isDefault: defaults[name] != nil, version: found.1,
                updatedAt: found.2, updatedBy: found.3)
        }
    }

    /// Throws `.notFound`.
    package func rule(
        _ name: String, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> NamedAlertRule {
        guard let rule = try await rules(of: tenant).first(where: { $0.name == name }) else {
            throw .notFound("alert rule")
        }
        return rule
    }

    /// Makes or replaces a rule. Throws `.versionNeeded`, `.outdated`, `.invalid`, and `.conflict` past
    /// `mostRules`.
    package func putRule(
        _ name: String, _ patch: AlertRule.Patch, of tenant: Tenant.ID,
        if precondition: Precondition, by actor: Actor
    ) async throws(ControlPlaneError) -> (rule: NamedAlertRule, isNew: Bool) {
        let rule = try Self.made(name, patch, of: tenant)
        let version = try await change(tenant, name, precondition, mustExist: false) { version, count in
            if version == nil, count >= Self.mostRules {
                return .failure(.conflict("a tenant has at most \(Self.mostRules) rules of its own"))
            }
            return .success([
                (
                    .alertRulePut,
                    [.uuid(tenant.uuid), .text(name), .jsonb(rule.text), .text(actor.name)]
                ),
                actor.audits("alert-rule.put", name, of: tenant, detail: rule.text),
            ])
        }
        return (try await self.rule(name, of: tenant), version == nil)
    }

    /// Takes a rule away, or back to the service's own. Throws `.notFound`, `.versionNeeded`, `.outdated`.
    package func deleteRule(
        _ name: String, of tenant: Tenant.ID, if precondition: Precondition, by actor: Actor
    ) async throws(ControlPlaneError) {
        _ = try await change(tenant, name, precondition, mustExist: true) { _, _ in
            .success([
                (.alertRuleDelete, [.uuid(tenant.uuid), .text(name)]),
                actor.audits("alert-rule.delete", name, of: tenant),
            ])
        }
    }

    /// The rule that a patch makes: what it does not say is as in the service's own rule of that name, or in
    /// a new one of the kind.
    private static func made(
        _ name: String, _ patch: AlertRule.Patch, of tenant: Tenant.ID
    ) throws(ControlPlaneError) -> AlertRule {
        var rule: AlertRule
        if let own = AlertRule.defaults(of: tenant)[name], patch.kind == nil || patch.kind == own.kind {
            rule = own
        } else if let kind = patch.kind {
            rule = AlertRule(kind)
            if let own = AlertRule.defaults(of: tenant)[name] { rule.take(own) }
            guard patch.hasThreshold || AlertRule.defaults(of: tenant)[name] != nil else {
                throw .invalid(field: "/threshold", reason: "must be there: the rule is new")
            }
        } else {
            throw .invalid(field: "/kind", reason: "must be there: the service has no rule \(name)")
        }
        patch.apply(to: &rule)
        guard !rule.kind.isOfFleet || tenant == .fleet else {
            throw .invalid(field: "/kind", reason: "is measured over the fleet, for operators alone")
        }
        guard rule.kind.hasWindow || patch.window == nil else {
            throw .invalid(field: "/windowS", reason: "is no member of a rule of this kind")
        }
        if rule.kind.hasWindow, rule.window == 0 { rule.window = 3600 }
        if let clear = rule.clearAt, clear > rule.threshold {
            throw .invalid(field: "/clearAt", reason: "must not be above threshold")
        }
        return rule
    }

    /// One change under a lock of the tenant's rules; answers the version that was there.
    private func change(
        _ tenant: Tenant.ID, _ name: String, _ precondition: Precondition, mustExist: Bool,
        _ body: (_ version: Int64?, _ count: Int) -> Result<[Pipeline.Step], ControlPlaneError>
    ) async throws(ControlPlaneError) -> Int64? {
        let outcome: Result<Int64?, ControlPlaneError>
        do throws(PostgresError) {
            outcome = try await pipeline.withTransaction(tenant: tenant.uuid) {
                transaction throws(PostgresError) in
                _ = try await transaction.execute(.alertTenantLock, [.uuid(tenant.uuid)])
                let found = try await transaction.execute(
                    .alertRuleVersion, [.uuid(tenant.uuid), .text(name)]
                ).only()
                let version = try found.int64IfPresent("version")
                if mustExist, version == nil { return .failure(.notFound("alert rule")) }
                do throws(ControlPlaneError) { try precondition.check(version) } catch {
                    return .failure(error)
                }
                switch body(version, try found.int("rules")) {
                case .failure(let error): return .failure(error)
                case .success(let steps):
                    for (statement, parameters) in steps {
                        _ = try await transaction.execute(statement, parameters)
                    }
                    return .success(version)
                }
            }
        } catch {
            throw .postgres(error)
        }
        return try outcome.get()
    }
}

extension AlertRule {
    /// All of another rule but what hangs on its kind.
    fileprivate mutating func take(_ other: AlertRule) {
        let (kind, window) = (kind, window)
        self = other
        self.kind = kind
        self.window = kind.hasWindow ? max(other.window, window) : 0
        clearAt = nil
    }
}

extension AlertRule {
    /// As it is stored.
    fileprivate var text: String {
        var writer = JSONWriter()
        writer.value(self)
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

// MARK: Silences

extension Alerts {
    /// What is to be silent, and why.
    package struct SilenceDraft: Sendable {
        package var rule: String?
        package var labels: [String: String]
        package var endsAt: Timestamp
        package var reason: String

        package init(rule: String?, labels: [String: String], endsAt: Timestamp, reason: String) {
            self.rule = rule
            self.labels = labels
            self.endsAt = endsAt
            self.reason = reason
        }
    }

    /// Those that have not ended, the newest first; those before `before`.
    package func silences(
        of tenant: Tenant.ID, before: UUID?, limit: Int
    ) async throws(ControlPlaneError) -> [AlertSilence] {
        try decodeAll(
            try await run(
                tenant,
                [(.alertSilencePage, [.uuid(tenant.uuid), .uuid(before), .int8(Int64(limit))])]),
            AlertSilence.init)
    }

    /// Throws `.conflict` past `mostSilences`.
    package func silence(
        _ draft: SilenceDraft, of tenant: Tenant.ID, by actor: Actor, idempotency: Idempotency? = nil
    ) async throws(ControlPlaneError) -> Made<AlertSilence> {
        let directory = Directory(pipeline)
        if let id = try await directory.earlier(idempotency, of: tenant).flatMap({ UUID($0) }) {
            return Made(value: try await found(id, of: tenant), isReplay: true)
        }
        let id = UUID.v7()
        let steps: [Pipeline.Step] =
            [
                (
                    .alertSilenceAdd,
                    [
                        .uuid(tenant.uuid), .uuid(id), .text(draft.rule),
                        .jsonb(jsonText(draft.labels)), .timestamp(draft.endsAt),
                        .text(draft.reason), .text(actor.name),
                    ]
                ),
                actor.audits(
                    "alert.silence", id.description, of: tenant, reason: draft.reason,
                    detail: jsonText(draft.labels)),
            ] + directory.remember(idempotency, of: tenant, resource: id.description)
        let isMade: Bool
        do throws(PostgresError) {
            isMade = try await pipeline.add(
                steps, of: tenant, unless: .alertSilenceCount, reaches: Self.mostSilences)
        } catch .uniqueViolation(constraint: "idempotency_pkey") {
            return try await silence(draft, of: tenant, by: actor, idempotency: idempotency)
        } catch {
            throw .postgres(error)
        }
        guard isMade else {
            throw .conflict("a tenant has at most \(Self.mostSilences) silences at a time")
        }
        return Made(value: try await found(id, of: tenant), isReplay: false)
    }

    /// Ends a silence now. Throws `.notFound` for one that has ended.
    package func endSilence(
        _ id: UUID, of tenant: Tenant.ID, by actor: Actor
    ) async throws(ControlPlaneError) {
        _ = try await found(id, of: tenant)
        let rows = try await run(
            tenant,
            [
                actor.audits("alert.silence.end", id.description, of: tenant),
                (.alertSilenceEnd, [.uuid(tenant.uuid), .uuid(id)]),
            ])
        if rows.isEmpty { throw .notFound("silence") }
    }

    private func found(
        _ id: UUID, of tenant: Tenant.ID
    ) async throws(ControlPlaneError) -> AlertSilence {
        let rows = try await run(tenant, [(.alertSilenceByID, [.uuid(tenant.uuid), .uuid(id)])])
        guard let row = rows.first else { throw .notFound("silence") }
        return try decode(row, AlertSilence.init)
    }
}
