/// One table that holds rows of tenants. `all` is the one list: removal and export read it, and a test
/// holds it, column by column, against the catalogue.
package struct TenantTable: Sendable {
    package let name: String
    /// What makes a row unique beside its tenant, with the types.
    package let key: [(column: String, type: KeyType)]
    package let removal: Removal
    package let export: Export

    package enum KeyType: String, Sendable {
        case text, uuid, smallint, integer, bigint, bytea, timestamptz

        /// Before any value that there is.
        var least: String {
            switch self {
            case .text, .bytea: ""
            case .uuid: "00000000-0000-0000-0000-000000000000"
            case .smallint: "-32768"
            case .integer: "-2147483648"
            case .bigint: "-9223372036854775808"
            case .timestamptz: "-infinity"
            }
        }
    }

    package enum Removal: Sendable {
        /// A few rows, gone with the row of `tenant` by their foreign key.
        case cascade
        /// Any number, so in transactions of some thousand rows.
        case chunks
    }

    package enum Export: Sendable {
        /// A line a row, of this `type`, with these columns; the others stay in the database.
        case lines(_ type: String, _ columns: [String], hidden: [String] = [])
        /// What is of no use outside, or not for outside.
        case none(_ reason: String)
    }

    package static let all = [
        TenantTable(
            name: "api_key", key: [("id", .text)], removal: .cascade,
            export: .lines(
                "key",
                [
                    "id", "name", "scopes", "created_at", "created_by", "expires_at",
                    "last_used_at", "revoked_at", "revoked_reason", "replaces", "changed_at",
                ], hidden: ["hash"])),
        TenantTable(
            name: "session", key: [("hash", .bytea)], removal: .cascade,
            export: .none("browsers that are signed in, by hashes")),
        TenantTable(
            name: "policy", key: [("operation", .text)], removal: .cascade,
            export: .lines(
                "policy",
                [
                    "operation", "version", "limits", "on_outage", "hot_window_s", "long_window_s",
                    "created_at", "updated_at", "updated_by", "override", "override_until",
                    "override_reason", "override_by",
                ])),
        TenantTable(
            name: "policy_set", key: [], removal: .cascade,
            export: .lines(
                "settings",
                [
                    "version", "counts_all", "long_ops", "default_max_per_hour", "settings",
                    "settings_version", "settings_at", "settings_by",
                ])),
        TenantTable(
            name: "region", key: [("name", .text)], removal: .cascade,
            export: .lines(
                "region",
                [
                    "name", "version", "provider", "account", "api_url", "domain",
                    "data_plane_url", "priority",
                    "templates", "enabled", "created_at", "updated_at", "updated_by",
                ], hidden: ["api_key", "api_key_hint"])),
        TenantTable(
            name: "region_set", key: [], removal: .cascade,
            export: .none("when its regions changed last")),
        TenantTable(
            name: "operation", key: [("op", .smallint)], removal: .cascade,
            export: .lines("operation", ["op", "name", "created_at"])),
        TenantTable(
            name: "import", key: [("id", .bytea)], removal: .cascade,
            export: .none("which files were imported, by hashes")),
        TenantTable(
            name: "import_row",
            key: [("import_id", .bytea), ("op", .smallint), ("at", .timestamptz)],
            removal: .chunks, export: .none("rows of an import that is under way")),
        TenantTable(
            name: "request_record", key: [("id", .uuid), ("at", .timestamptz)], removal: .chunks,
            export: .lines(
                "record", ["id", "at", "op", "units", "labels", "refunded_units", "refunded_at"])),
        TenantTable(
            name: "refund", key: [("op", .smallint), ("at", .timestamptz), ("request_id", .uuid)],
            removal: .chunks,
            export: .lines("refund", ["op", "at", "request_id", "units", "created_at"])),
        log("usage_log", "log"), log("usage_log_long", "longLog"),
        // After the logs: a roll-up that is under way may still add to them.
        rollUp("usage_minute", "minute"), rollUp("usage_hour", "hour"),
        TenantTable(
            name: "event", key: [("at", .timestamptz), ("id", .uuid)], removal: .chunks,
            export: .lines(
                "event", ["id", "at", "name", "fields"],
                hidden: ["region", "sandbox_id", "breaker_state"])),
        TenantTable(
            name: "breaker", key: [("id", .text)], removal: .chunks,
            export: .lines(
                "breaker", ["id", "version", "generation", "state", "machine", "updated_at"])),
        TenantTable(
            name: "breaker_event", key: [("breaker", .text), ("generation", .bigint)],
            removal: .chunks,
            export: .lines(
                "breakerEvent",
                [
                    "breaker", "generation", "at", "from_state", "to_state", "cause", "failures",
                    "open_until", "instance", "actor", "reason",
                ])),
        TenantTable(
            name: "sandbox_request", key: [("id", .uuid)], removal: .chunks,
            export: .lines(
                "sandboxRequest",
                [
                    "id", "state", "via", "template", "framework", "region", "life_ms", "metadata",
                    "trace_id", "holder", "lease_until", "deadline_at", "sandbox_id", "attempts",
                    "fell_back", "error_kind", "error", "created_at", "ended_at",
                ])),
        TenantTable(
            name: "sandbox", key: [("id", .uuid)], removal: .chunks,
            export: .lines(
                "sandbox",
                [
                    "id", "request_id", "attempt", "version", "state", "reason", "region",
                    "template", "framework", "metadata", "provider_id", "domain", "health",
                    "created_at", "changed_at", "started_at", "ends_at", "provider_ends_at",
                    "seen_at", "misses", "missed_at", "ended_at", "pauses",
                ])),
        TenantTable(
            name: "sandbox_event", key: [("sandbox_id", .uuid), ("version", .integer)],
            removal: .chunks,
            export: .lines(
                "sandboxEvent",
                [
                    "sandbox_id", "version", "at", "from_state", "to_state", "reason", "actor",
                    "detail",
                ])),
        TenantTable(
            name: "attempt", key: [("at", .timestamptz), ("id", .uuid), ("number", .smallint)],
            removal: .chunks,
            export: .lines(
                "attempt",
                [
                    "id", "number", "at", "ended_at", "operation", "breaker", "outcome", "kind",
                    "duration_ms", "wait_ms", "stop",
                ])),
        TenantTable(
            name: "alert", key: [("id", .uuid)], removal: .chunks,
            export: .lines(
                "alert",
                [
                    "id", "rule", "severity", "labels", "fingerprint", "state", "value",
                    "threshold",
                    "started_at", "fired_at", "clear_since", "resolved_at", "notified_at",
                    "notifications", "silenced", "inhibited", "acknowledged_at", "acknowledged_by",
                    "acknowledged_reason", "updated_at",
                ])),
        TenantTable(
            name: "alert_rule", key: [("name", .text)], removal: .cascade,
            export: .lines(
                "alertRule", ["name", "version", "rule", "updated_at", "updated_by"])),
        TenantTable(
            name: "alert_channel", key: [("id", .uuid)], removal: .cascade,
            export: .lines(
                "alertChannel",
                [
                    "id", "version", "name", "kind", "host", "min_severity", "rules", "all_tenants",
                    "heartbeat_s", "heartbeat_at", "enabled", "disabled_reason", "blocked_until",
                    "last_delivered_at", "created_at", "updated_at", "updated_by",
                ], hidden: ["target", "secret"])),
        TenantTable(
            name: "alert_notification", key: [("id", .uuid)], removal: .chunks,
            export: .lines(
                "alertNotification",
                [
                    "id", "channel_id", "alert_tenant", "alert_id", "number", "event", "body",
                    "created_at", "not_before", "attempts", "fence", "holder", "lease_until",
                    "last_status", "last_error", "sent_at", "dead_at",
                ])),
        TenantTable(
            name: "alert_silence", key: [("id", .uuid)], removal: .cascade,
            export: .lines(
                "alertSilence",
                ["id", "rule", "labels", "starts_at", "ends_at", "reason", "author"])),
        TenantTable(
            name: "audit_entry", key: [("id", .uuid)], removal: .chunks,
            export: .lines(
                "audit",
                [
                    "id", "at", "actor", "action", "target", "reason", "detail", "request_id",
                    "address",
                ])),
        TenantTable(
            name: "idempotency", key: [("key_hash", .bytea)], removal: .chunks,
            export: .none("replies to repeated calls, kept for a day, by hashes")),
        TenantTable(
            name: "task", key: [("id", .uuid)], removal: .chunks,
            export: .none("work of the service itself")),
    ]

    private static func log(_ name: String, _ type: String) -> TenantTable {
        TenantTable(
            name: name, key: [("op", .smallint), ("at", .timestamptz)], removal: .chunks,
            export: .lines(type, ["op", "at", "units", "cum"]))
    }

    private static func rollUp(_ name: String, _ type: String) -> TenantTable {
        TenantTable(
            name: name, key: [("op", .smallint), ("at", .timestamptz)], removal: .chunks,
            export: .lines(type, ["op", "at", "units", "denied_calls", "denied_units"]))
    }
}
