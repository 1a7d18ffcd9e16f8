package import IO
package import Postgres

/// Says that this instance lives, so that others settle what it had in hand soon after it died.
package struct Heartbeat: Sendable {
    package struct Settings: Hashable, Sendable {
        /// How long an instance may be silent before it counts as gone. A beat comes five times as often.
        package var silence: Duration = .seconds(15)

        package init() {}
    }

    private let loop: EventLoop
    private let pipeline: Pipeline
    private let instance: String
    private let settings: Settings

    package init(
        on loop: EventLoop, _ pipeline: Pipeline, instance: String, settings: Settings = Settings()
    ) {
        self.loop = loop
        self.pipeline = pipeline
        self.instance = instance
        self.settings = settings
    }

    /// Begins a life: what the name holds from before is nobody's. Before anything is taken in hand.
    package func begin() async throws(ControlPlaneError) {
        do throws(PostgresError) {
            _ = try await pipeline.execute(.instanceBegin, [.text(instance)])
        } catch { throw .postgres(error) }
    }

    /// Beats until cancelled.
    package func run() async {
        while !Task.isCancelled {
            do throws(IOError) { try await loop.sleep(for: settings.silence / 5) } catch { return }
            _ = try? await pipeline.execute(
                .instanceSeen, [.text(instance), .int8(settings.silence.milliseconds)])
        }
    }
}

extension Statement {
    fileprivate static let instanceBegin = Statement(
        "instance_begin",
        """
        INSERT INTO instance (name, started_at, seen_at, beats_from)
        VALUES ($1, clock_timestamp(), clock_timestamp(), clock_timestamp())
        ON CONFLICT (name) DO UPDATE
        SET    started_at = clock_timestamp(), seen_at = clock_timestamp(), beats_from = clock_timestamp()
        """)
    fileprivate static let instanceSeen = Statement(
        "instance_seen",
        """
        INSERT INTO instance AS i (name, started_at, seen_at, beats_from)
        VALUES ($1, clock_timestamp(), clock_timestamp(), clock_timestamp())
        ON CONFLICT (name) DO UPDATE
        SET    seen_at = clock_timestamp(),
               beats_from = CASE WHEN i.seen_at < clock_timestamp() - $2 * interval '1 millisecond'
                            THEN clock_timestamp() ELSE i.beats_from END
        """)
}
