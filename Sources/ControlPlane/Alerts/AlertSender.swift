package import IO
package import Outbound
package import Postgres

/// Sends what the outbox of alerts holds: each notification at least once, under an id of its own that
/// stays the same, until the receiver takes it or the tries are used up. Any instance takes what another
/// did not finish; a receiver that is slow holds up no other.
package actor AlertSender: LoopBound {
    package struct Settings: Hashable, Sendable {
        package var poll: Duration = .seconds(1)
        /// One call to a receiver.
        package var call: Duration = .seconds(15)
        /// Notifications in hand at a time.
        package var width = 16
        /// Of one channel at a time, whatever the instances.
        package var perChannel = 4
        package var maxAttempts = 12
        /// The first pause after a failure; each doubles, a fifth more or less.
        package var backoff: Duration = .seconds(5)
        package var maxBackoff: Duration = .seconds(3600)

        /// How long a notification is this instance's: longer than a call and what is written of it.
        var lease: Duration { call * 2 + .seconds(5) }

        package init() {}
    }

    /// What this one did since its start.
    package struct Counters: Hashable, Sendable {
        package enum Outcome: String, Hashable, Sendable, CaseIterable { case sent, failed, dead }

        package struct Key: Hashable, Sendable {
            package let channel: AlertChannel.Kind
            package let outcome: Outcome

            package init(channel: AlertChannel.Kind, outcome: Outcome) {
                self.channel = channel
                self.outcome = outcome
            }
        }

        package var notifications: [Key: Int] = [:]
    }

    package nonisolated let loop: EventLoop
    private let settings: Settings
    private let pipeline: Pipeline
    private let instance: String
    private let secrets: SecretBox
    private let client: HTTPClient
    private let tell: Tell
    /// A test's clock; nil: the database's own.
    private let now: (@Sendable () -> Timestamp)?
    package private(set) var counters = Counters()

    package init(
        on loop: EventLoop, pipeline: Pipeline, instance: String, secrets: SecretBox,
        client: HTTPClient, settings: Settings = Settings(),
        now: (@Sendable () -> Timestamp)? = nil, tell: @escaping Tell = { _ in }
    ) {
        self.loop = loop
        self.pipeline = pipeline
        self.instance = instance
        self.secrets = secrets
        self.client = client
        self.settings = settings
        self.now = now
        self.tell = tell
    }

    /// Works until cancelled.
    package func run() async {
        while !Task.isCancelled {
            if await round() > 0 { continue }
            do throws(IOError) { try await loop.sleep(for: settings.poll) } catch { return }
        }
    }

    /// Takes what is due and sends it; how many that were.
    @discardableResult
    package func round() async -> Int {
        guard let claims = try? await claim() else { return 0 }
        await withDiscardingTaskGroup { group in
            for claim in claims {
                group.addTask(executorPreference: loop) { await self.deliver(claim) }
            }
        }
        return claims.count
    }

    private func deliver(_ claim: Claim) async {
        let target: AlertTarget
        do throws(ControlPlaneError) {
            target = try claim.channel.opened(secrets)
        } catch {
            await fail(claim, Answer(status: nil, error: "its secrets do not open: \(error)"))
            return
        }
        let answer = await send(claim.message(at: now?() ?? .now), to: target)
        guard answer.isTaken else { return await fail(claim, answer) }
        CrashPoint.alertSent.reached()
        count(claim, .sent)
        _ = try? await asOperator(
            .alertNotificationSent, claim.key + [.int4(answer.status.map { Int32($0) }), .timestamp(now?()), .int8(answer.pause?.milliseconds)])
    }

    private func fail(_ claim: Claim, _ answer: Answer) async {
        let doublings = Double(1 << min(max(Int(claim.attempts) - 1, 0), 20))
        let backoff = min(settings.backoff * doublings, settings.maxBackoff)
        let isDead = Int(claim.attempts) >= settings.maxAttempts || answer.status == 410
        count(claim, isDead ? .dead : .failed)
        _ = try? await asOperator(
            .alertNotificationFailed,
            claim.key + [
                .int4(answer.status.map { Int32($0) }), .timestamp(now?()),
                .int8(answer.pause.map { min($0, settings.maxBackoff) }?.milliseconds),
                .text(answer.error), .int8((backoff * Double.random(in: 0.8...1.2)).milliseconds),
                .bool(isDead), .bool(answer.status == 410),
            ])
        guard isDead else { return }
        tell(
            .notificationDead(
                tenant: claim.channel.tenant, channel: claim.channel.id.description,
                id: claim.id.description, error: answer.error))
    }

    private func count(_ claim: Claim, _ outcome: Counters.Outcome) {
        counters.notifications[
            Counters.Key(channel: claim.channel.kind, outcome: outcome), default: 0] += 1
    }
}

// MARK: One call

extension AlertSender {
    /// What a receiver said.
    package struct Answer: Hashable, Sendable {
        /// Nil: it gave none.
        package let status: Int?
        /// What went wrong; for people.
        package let error: String
        /// The beginning of the body.
        package var body = ""
        /// The receiver wants no further call for so long.
        var pause: Duration?

        /// 2xx and nothing else: a redirect is none.
        package var isTaken: Bool { status.map { (200..<300).contains($0) } ?? false }
    }

    /// Characters of an answer's body that are kept.
    private static let shownBody = 1000

    /// Sends one message, once.
    func send(_ message: AlertMessage, to target: AlertTarget) async -> Answer {
        do throws(HTTPClient.Failure) {
            let response = try await client.send(
                message.request(to: target, deadline: settings.call))
            let text = String(decoding: response.body.prefix(4 * Self.shownBody), as: UTF8.self)
            return Answer(
                status: response.status, error: "answered \(response.status)",
                body: String(text.prefix(Self.shownBody)),
                pause: Self.pause(response.head, target))
        } catch {
            return Answer(status: nil, error: "\(error.kind.rawValue) (\(error.phase.rawValue))")
        }
    }

    /// Sends a message that says that it is a test, and answers what the receiver said.
    package func test(
        _ id: UUID, of channels: AlertChannels, tenant: Tenant.ID, by actor: Actor
    ) async throws(ControlPlaneError) -> Answer {
        let target = try await channels.target(of: id, tenant: tenant, by: actor)
        let time = now?() ?? .now
        return await send(
            AlertMessage(
                id: .random(), body: AlertBody.test(by: actor.name, at: time), sentAt: time),
            to: target)
    }

    /// `Retry-After` in seconds, with 429 and 503; of Sentry also what it limits, with any answer
    /// (develop.sentry.dev, "Rate Limiting"): `seconds:categories:scope, ...`, no category standing for all.
    private static func pause(_ head: HTTPClient.Head, _ target: AlertTarget) -> Duration? {
        if case .sentry = target, let limits = head.value("X-Sentry-Rate-Limits") {
            let waits = limits.split(separator: ",").compactMap { limit -> Int64? in
                let parts = limit.split(separator: ":", omittingEmptySubsequences: false)
                let categories = parts.count > 1 ? parts[1].split(separator: ";") : []
                guard categories.isEmpty || categories.contains("error") else { return nil }
                return parts.first.flatMap { Int64($0.filter { $0 != " " }) }
            }
            if let longest = waits.max(), longest > 0 { return .seconds(min(longest, 86_400)) }
        }
        guard [429, 503].contains(head.status),
            let seconds = head.value("Retry-After").flatMap({ Int64($0) }), seconds > 0
        else { return nil }
        return .seconds(min(seconds, 86_400))
    }
}

extension UUID {
    /// A new random id (RFC 9562, 5.4).
    static func random() -> UUID {
        UUID(
            high: .random(in: .min ... .max) & ~0xf000 | 0x4000,
            low: .random(in: .min ... .max) >> 2 | 0x8000_0000_0000_0000)
    }
}

// MARK: Claims

extension AlertSender {
    /// A notification that is this instance's for a while.
    private struct Claim: Sendable {
        let channel: AlertChannel
        let id: UUID
        let body: String
        /// Tries so far, this one among them.
        let attempts: Int32
        let fence: Int64

        init(_ row: Row) throws(PostgresError) {
            channel = try AlertChannel(row)
            id = try row.uuid("notification_id")
            body = try row.json("body")
            attempts = try row.int32("attempts")
            fence = try row.int64("fence")
        }

        var key: [Parameter] {
            [.uuid(channel.tenant.uuid), .uuid(id), .int8(fence), .uuid(channel.id)]
        }

        func message(at now: Timestamp) -> AlertMessage {
            AlertMessage(id: id, body: body, sentAt: now)
        }
    }

    private func claim() async throws(ControlPlaneError) -> [Claim] {
        try decodeAll(
            try await asOperator(
                .alertNotificationClaim,
                [
                    .timestamp(now?()), .int8(Int64(settings.width)),
                    .int8(Int64(settings.perChannel)), .text(instance),
                    .int8(settings.lease.milliseconds),
                ]), Claim.init)
    }

    private func asOperator(
        _ statement: Statement, _ parameters: [Parameter]
    ) async throws(ControlPlaneError) -> Rows {
        do throws(PostgresError) {
            return try await pipeline.transaction([(.enterOperator, []), (statement, parameters)])[1]
        } catch {
            throw .postgres(error)
        }
    }
}

extension Statement {
    /// The oldest of each channel that waits, none before an earlier one of the same alert, no more of a
    /// channel than may be on their way at a time.
    fileprivate static let alertNotificationClaim = Statement(
        "alert_notification_claim",
        """
        WITH clock AS (SELECT coalesce($1, clock_timestamp()) AS now),
        channel AS (
            SELECT DISTINCT n.tenant_id, n.channel_id FROM clock JOIN alert_notification AS n
                   ON n.not_before <= clock.now AND n.sent_at IS NULL AND n.dead_at IS NULL),
        due AS (
            SELECT n.tenant_id, n.id
            FROM   clock CROSS JOIN channel
            JOIN   alert_channel AS c ON c.tenant_id = channel.tenant_id AND c.id = channel.channel_id
                   AND c.enabled AND (c.blocked_until IS NULL OR c.blocked_until <= clock.now)
            CROSS  JOIN LATERAL (
                SELECT n.tenant_id, n.id FROM alert_notification AS n
                WHERE  n.tenant_id = c.tenant_id AND n.channel_id = c.id AND n.sent_at IS NULL AND n.dead_at IS NULL
                AND    n.not_before <= clock.now AND (n.lease_until IS NULL OR n.lease_until <= clock.now)
                AND    NOT EXISTS (
                    SELECT FROM alert_notification AS e
                    WHERE  e.tenant_id = n.tenant_id AND e.channel_id = n.channel_id AND e.alert_id = n.alert_id
                    AND    e.number < n.number AND e.sent_at IS NULL AND e.dead_at IS NULL)
                ORDER  BY n.created_at, n.number
                LIMIT  greatest(0, $3 - (
                    SELECT count(*) FROM alert_notification AS o
                    WHERE  o.tenant_id = c.tenant_id AND o.channel_id = c.id AND o.sent_at IS NULL
                    AND    o.dead_at IS NULL AND o.lease_until > clock.now))
                FOR NO KEY UPDATE OF n SKIP LOCKED) AS n
            LIMIT  $2)
        UPDATE alert_notification AS n
        SET    holder = $4, fence = n.fence + 1, attempts = n.attempts + 1,
               lease_until = clock.now + $5 * interval '1 millisecond'
        FROM   due, clock, alert_channel AS c
        WHERE  (n.tenant_id, n.id) = (due.tenant_id, due.id)
        AND    (c.tenant_id, c.id) = (n.tenant_id, n.channel_id)
        RETURNING c.*, n.id AS notification_id, n.body, n.attempts, n.fence
        """)
    /// $1 to $3: tenant, id, fence; $4 the channel.
    fileprivate static let alertNotificationSent = Statement(
        "alert_notification_sent",
        """
        WITH sent AS (
            UPDATE alert_notification
            SET    sent_at = coalesce($6, clock_timestamp()), holder = NULL, lease_until = NULL,
                   last_status = $5, last_error = NULL
            WHERE  tenant_id = $1 AND id = $2 AND fence = $3 AND sent_at IS NULL)
        UPDATE alert_channel
        SET    last_delivered_at = coalesce($6, clock_timestamp()),
               blocked_until = coalesce($6, clock_timestamp()) + $7 * interval '1 millisecond'
        WHERE  tenant_id = $1 AND id = $4
        """)
    fileprivate static let alertNotificationFailed = Statement(
        "alert_notification_failed",
        """
        WITH clock AS (SELECT coalesce($6, clock_timestamp()) AS now),
        failed AS (
            UPDATE alert_notification
            SET    holder = NULL, lease_until = NULL, last_status = $5, last_error = $8,
                   not_before = now + $9 * interval '1 millisecond', dead_at = CASE WHEN $10 THEN now END
            FROM   clock WHERE tenant_id = $1 AND id = $2 AND fence = $3 AND sent_at IS NULL)
        UPDATE alert_channel
        SET    blocked_until = greatest(blocked_until, now + $7 * interval '1 millisecond'),
               enabled = enabled AND NOT $11,
               disabled_reason = CASE WHEN $11 THEN 'the receiver answered 410' ELSE disabled_reason END
        FROM   clock WHERE tenant_id = $1 AND id = $4 AND ($7 IS NOT NULL OR $11)
        """)
}
