import ControlPlane
import JSON
import Postgres
import ServiceSupport
import TestSupport

// Calls about alerts that fail for what was before them.
extension WrongCalls {
    static func channel(_ path: String) -> String {
        #"{"kind":"slack","url":"https://a.example/\#(path)"}"#
    }

    static var channelDraft: AlertChannels.Draft {
        var draft = AlertChannels.Draft()
        draft.kind = .slack
        draft.target = ("https://a.example/b", "a.example")
        return draft
    }

    func byAlerts(_ call: Caller, _ tenant: Tenant.ID, _ url: String) async throws {
        let rule = "/v1/alert-rules/breaker-open"
        let (on, old) = (#"{"enabled":true}"#, #"If-Match: "999""#)
        for _ in 0..<2 { try await call("putAlertRule", "PUT", rule, on) }
        try await call("putAlertRule", "PUT", rule, on, old)
        try await call("deleteAlertRule", "DELETE", rule)
        try await call("deleteAlertRule", "DELETE", rule, nil, old)

        let channels = "/v1/alert-channels"
        try await call.twice("createAlertChannel", channels, Self.channel("a"), Self.channel("b"))
        let made = try await call("createAlertChannel", "POST", channels, Self.channel("c"))
        let own = "\(channels)/\(made?["id"]?.text ?? "")"
        try await call("changeAlertChannel", "PATCH", own, "{}", old)

        let (alert, waiting) = (UUID.v7(), UUID.v7())
        try Session(Conninfo(url: try TestDatabase.direct(url))).run(
            """
            INSERT INTO alert (tenant_id, id, rule, severity, labels, fingerprint, state, value, threshold,
                               started_at, fired_at, resolved_at, updated_at)
            VALUES ('\(tenant)', '\(alert)', 'breaker-open', 'info', '{}', 'a', 'resolved', 1, 1,
                    now(), now(), now(), now());
            INSERT INTO alert_notification (tenant_id, id, channel_id, number, event, body, created_at, not_before)
            VALUES ('\(tenant)', '\(waiting)', '\(made?["id"]?.text ?? "")', 0, 'alert.firing', '{}', now(),
                    now() + interval '1 day');
            """)
        try await call("acknowledgeAlert", "POST", "/v1/alerts/\(alert)/acknowledge", "{}")
        try await call(
            "retryAlertNotification", "POST", "\(own)/notifications/\(waiting)/retry", "{}")

        let silences = "/v1/alert-silences"
        let silence = #"{"endsAt":"\#(Timestamp.now + .seconds(3600))","reason":"r"}"#
        let other = silence.replacing(#""r""#, with: #""other""#)
        let ofAlert = "/v1/alerts/\(alert)/silence"
        try await call.twice("createAlertSilence", silences, silence, other)
        try await call.twice("silenceAlert", ofAlert, silence, other)
        try Session(Conninfo(url: try TestDatabase.direct(url))).run(
            """
            INSERT INTO alert_silence (tenant_id, id, labels, ends_at, reason, author)
            SELECT '\(tenant)', gen_random_uuid(), '{}', now() + interval '1 hour', 'r', 'a'
            FROM   generate_series(1, 100);
            INSERT INTO alert_rule (tenant_id, name, rule, updated_by)
            SELECT '\(tenant)', 'r' || n, '{"kind": "quota_used", "threshold": 1}', 'a' FROM generate_series(1, 50) AS n;
            """)
        try await call("createAlertSilence", "POST", silences, silence)
        try await call("silenceAlert", "POST", ofAlert, silence)
        try await call(
            "putAlertRule", "PUT", "/v1/alert-rules/one-more", #"{"kind":"quota_used","threshold":1}"#)
    }
}
