package import ControlPlane
package import HTTP
package import IO
package import Outbound
import Synchronization

/// Counts one loop's requests and connections. Only that loop writes, so the lock is free when it
/// does; the page of metrics reads.
package final class LoopMetrics: HTTPObserver {
    /// Upper bounds of the histogram in seconds; the last bucket takes the rest.
    static let bounds: [Double] = [
        0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10,
    ]
    private static let boundsInNanoseconds = bounds.map { Int64($0 * 1e9) }

    struct Series: Sendable {
        /// Nil until the first request.
        var operation: String?
        /// A handful of codes: found sooner by looking through them than by hashing.
        var byStatus: [(code: UInt16, count: Int)] = []
        var buckets = [Int](repeating: 0, count: bounds.count + 1)
        var sum: Int64 = 0  // nanoseconds

        mutating func count(_ code: UInt16, times: Int = 1) {
            if let index = byStatus.firstIndex(where: { $0.code == code }) {
                byStatus[index].count += times
            } else {
                byStatus.append((code, times))
            }
        }

        mutating func add(_ other: Series) {
            operation = operation ?? other.operation
            for (code, times) in other.byStatus { count(code, times: times) }
            for index in buckets.indices { buckets[index] += other.buckets[index] }
            sum += other.sum
        }
    }

    struct State: Sendable {
        /// By the route's place in the list of routes, from 1; what no route took comes first.
        var operations: [Series] = []
        var open = 0
        var accepted = 0
        var ends: [ConnectionEnd: Int] = [:]

        mutating func makeRoom(for place: Int) {
            while operations.count <= place { operations.append(Series()) }
        }
    }

    private let state = Mutex(State())

    package init() {}

    package func finished(_ exchange: Exchange) {
        let nanoseconds = exchange.duration.nanoseconds
        let bucket =
            Self.boundsInNanoseconds.firstIndex { nanoseconds <= $0 } ?? Self.bounds.count
        let place = exchange.route.map { $0 + 1 } ?? 0
        state.withLock { state in
            state.makeRoom(for: place)
            if state.operations[place].operation == nil {
                state.operations[place].operation = exchange.operationID ?? "none"
            }
            state.operations[place].count(exchange.status.code)
            state.operations[place].buckets[bucket] += 1
            state.operations[place].sum += nanoseconds
        }
    }

    package func opened(peer: IPAddress?) {
        state.withLock {
            $0.open += 1
            $0.accepted += 1
        }
    }

    package func closed(peer: IPAddress?, _ end: ConnectionEnd) {
        state.withLock {
            if end != .addressCap { $0.open -= 1 }
            $0.ends[end, default: 0] += 1
        }
    }

    var snapshot: State { state.withLock { $0 } }
}

/// What the page says of events.
package struct EventMetrics: Sendable {
    package var buffer = EventBuffer.Counters()
    package var waiting = 0
    package var writer = EventWriter.Counters()
    package var hub = EventHub.Counters()

    package init() {}

    package init(
        buffer: EventBuffer.Counters, waiting: Int, writer: EventWriter.Counters,
        hub: EventHub.Counters
    ) {
        self.buffer = buffer
        self.waiting = waiting
        self.writer = writer
        self.hub = hub
    }
}

/// What one instance knows at one moment, as Prometheus text (version 0.0.4).
package struct MetricsPage {
    private var text = ""

    package init() {}

    /// The page of an instance.
    package static func render(
        loops: [LoopMetrics], ledgers: [Ledger.Counters], breakers: [Breakers.Counters],
        attempts: [Attempts.Counters], budgets: [CreationBudget.Counters] = [],
        creations: [CreationMetrics] = [],
        outbound: [HTTPClient.Counters] = [], events: EventMetrics = EventMetrics(),
        alerts: [AlertSender.Counters] = [],
        isDatabaseUp: Bool, jobRuns: [String: [String: Int]],
        build: [(name: String, value: String)]
    ) -> String {
        var page = MetricsPage()
        page.family("breakwater_build_info", "gauge", "Always 1; what was built is in its labels.")
        page.sample("breakwater_build_info", build.map { ($0.name, $0.value) }, 1)
        page.requests(merge(loops.map(\.snapshot)))
        page.ledger(ledgers)
        page.breakers(breakers)
        page.attempts(attempts)
        page.budgets(budgets)
        page.creations(creations)
        page.outbound(outbound)
        page.events(events)
        page.alerts(alerts)
        page.family("breakwater_database_up", "gauge", "1 while every loop has its connections.")
        page.sample("breakwater_database_up", [], isDatabaseUp ? 1 : 0)
        page.family("breakwater_job_runs_total", "counter", "Runs of scheduled jobs here.")
        for (job, outcomes) in jobRuns.sorted(by: { $0.key < $1.key }) {
            for (outcome, count) in outcomes.sorted(by: { $0.key < $1.key }) {
                page.sample(
                    "breakwater_job_runs_total", [("job", job), ("outcome", outcome)], count)
            }
        }
        return page.text
    }

    private static func merge(_ states: [LoopMetrics.State]) -> LoopMetrics.State {
        states.reduce(into: LoopMetrics.State()) { total, state in
            total.open += state.open
            total.accepted += state.accepted
            total.ends.merge(state.ends, uniquingKeysWith: +)
            total.makeRoom(for: state.operations.count - 1)
            for (place, series) in state.operations.enumerated() {
                total.operations[place].add(series)
            }
        }
    }

    private mutating func requests(_ state: LoopMetrics.State) {
        let operations = state.operations
            .compactMap { series in series.operation.map { (key: $0, value: series) } }
            .sorted { $0.key < $1.key }
        family("breakwater_http_requests_total", "counter", "Requests by operation and status.")
        for (operation, series) in operations {
            for (status, count) in series.byStatus.sorted(by: { $0.code < $1.code }) {
                sample(
                    "breakwater_http_requests_total",
                    [("operation", operation), ("status", "\(status)")], count)
            }
        }
        let name = "breakwater_http_request_duration_seconds"
        family(name, "histogram", "From a complete head to the end of the answer.")
        for (operation, series) in operations {
            var total = 0
            for (index, count) in series.buckets.enumerated() {
                total += count
                let bound =
                    index < LoopMetrics.bounds.count ? "\(LoopMetrics.bounds[index])" : "+Inf"
                sample(name + "_bucket", [("operation", operation), ("le", bound)], total)
            }
            text += "\(name)_sum{operation=\"\(operation)\"} \(Double(series.sum) / 1e9)\n"
            sample(name + "_count", [("operation", operation)], total)
        }
        family("breakwater_http_connections", "gauge", "Connections that are open.")
        sample("breakwater_http_connections", [], state.open)
        family("breakwater_http_connections_total", "counter", "Connections accepted.")
        sample("breakwater_http_connections_total", [], state.accepted)
        family("breakwater_http_connection_ends_total", "counter", "Why connections ended.")
        for (end, count) in state.ends.sorted(by: { "\($0.key)" < "\($1.key)" }) {
            sample("breakwater_http_connection_ends_total", [("reason", "\(end)")], count)
        }
    }

    private mutating func ledger(_ ledgers: [Ledger.Counters]) {
        func sum(_ counter: (Ledger.Counters) -> Int) -> Int {
            ledgers.reduce(0) { $0 + counter($1) }
        }
        family("breakwater_ledger_calls_total", "counter", "Calls answered by the ledger.")
        for (kind, count) in [
            ("record", sum(\.recorded)), ("acquire", sum(\.admitted) + sum(\.denied)),
            ("check", sum(\.checked)),
        ] { sample("breakwater_ledger_calls_total", [("kind", kind)], count) }
        for (name, help, count) in [
            ("admitted", "Acquires that were admitted.", sum(\.admitted)),
            ("denied", "Acquires that were denied; nothing was recorded.", sum(\.denied)),
            ("failed", "Calls that got no answer from the database.", sum(\.failed)),
            ("batches", "Batches of decisions sent.", sum(\.batches)),
            ("batched_calls", "Calls that went in those batches.", sum(\.batchedCalls)),
        ] {
            family("breakwater_ledger_\(name)_total", "counter", help)
            sample("breakwater_ledger_\(name)_total", [], count)
        }
    }

    private mutating func breakers(_ loops: [Breakers.Counters]) {
        for (name, help, counter) in [
            ("refused", "Calls that a breaker refused.", \Breakers.Counters.refused),
            ("probes", "Probes that were let through.", \.probes),
            ("moves", "Moves that this instance made.", \.moves),
            ("stale", "Results of another generation, which changed nothing.", \.stale),
            ("local", "Changes decided while the database was away.", \.local),
            ("batches", "Batches of changes sent.", \.batches),
        ] {
            family("breakwater_breaker_\(name)_total", "counter", help)
            sample(
                "breakwater_breaker_\(name)_total", [],
                loops.reduce(0) { $0 + $1[keyPath: counter] })
        }
    }

    private mutating func attempts(_ loops: [Attempts.Counters]) {
        func sum(_ counter: KeyPath<Attempts.Counters, Int>) -> Int {
            loops.reduce(0) { $0 + $1[keyPath: counter] }
        }
        family("breakwater_permits_total", "counter", "Answers to permits asked for.")
        for (answer, counter) in [
            ("allowed", \Attempts.Counters.allowed), ("breaker_open", \.breakerOpen),
            ("quota_exceeded", \.overQuota), ("throttled", \.throttled),
        ] {
            sample("breakwater_permits_total", [("answer", answer)], sum(counter))
        }
        family("breakwater_permits_degraded_total", "counter", "Permits without a record.")
        sample("breakwater_permits_degraded_total", [], sum(\.degraded))
        family("breakwater_attempts_total", "counter", "Tries that callers reported.")
        for (outcome, counter) in [
            ("succeeded", \Attempts.Counters.succeeded), ("failed", \.failed),
            ("cancelled", \.cancelled), ("replayed", \.replayed),
        ] {
            sample("breakwater_attempts_total", [("outcome", outcome)], sum(counter))
        }
        family("breakwater_attempts_dropped_total", "counter", "Tries that were not stored.")
        sample("breakwater_attempts_dropped_total", [], sum(\.dropped))
    }

    private mutating func budgets(_ loops: [CreationBudget.Counters]) {
        family(
            "breakwater_creation_budget_total", "counter",
            "Creations that asked their account's budget, by its answer.")
        let answers: [(String, (CreationBudget.Counters) -> Int)] =
            [("granted", \.granted)]
            + CreationBudget.Reason.allCases.map { reason in
                (reason.rawValue, { $0.waits[reason] ?? 0 })
            }
        for (answer, count) in answers {
            sample(
                "breakwater_creation_budget_total", [("answer", answer)],
                loops.reduce(0) { $0 + count($1) })
        }
        for (name, help, count) in [
            (
                "throttles", "Answers of providers that said 429.",
                \CreationBudget.Counters.throttles
            ),
            ("batches", "Statements that budgets cost.", \.batches),
        ] {
            family("breakwater_creation_budget_\(name)_total", "counter", help)
            sample(
                "breakwater_creation_budget_\(name)_total", [],
                loops.reduce(0) { $0 + $1[keyPath: count] })
        }
    }

    private mutating func alerts(_ senders: [AlertSender.Counters]) {
        family(
            "breakwater_alert_notifications_total", "counter",
            "Tries to tell a channel of an alert, by how they ended.")
        for channel in AlertChannel.Kind.allCases {
            for outcome in AlertSender.Counters.Outcome.allCases {
                let key = AlertSender.Counters.Key(channel: channel, outcome: outcome)
                sample(
                    "breakwater_alert_notifications_total",
                    [("channel", channel.rawValue), ("outcome", outcome.rawValue)],
                    senders.reduce(0) { $0 + $1.notifications[key, default: 0] })
            }
        }
    }

    private mutating func outbound(_ clients: [HTTPClient.Counters]) {
        var calls: [HTTPClient.Counters.Outcome: Int] = [:]
        for client in clients { calls.merge(client.calls, uniquingKeysWith: +) }
        family(
            "breakwater_outbound_calls_total", "counter",
            "Calls to others by how they ended, and how far those came that have no answer.")
        let rows = calls.map { outcome, count in
            (outcome.kind?.rawValue ?? "answered", outcome.phase?.rawValue ?? "", count)
        }
        for (outcome, phase, count) in rows.sorted(by: { ($0.0, $0.1) < ($1.0, $1.1) }) {
            sample(
                "breakwater_outbound_calls_total", [("outcome", outcome), ("phase", phase)], count)
        }
        func sum(_ counter: (HTTPClient.Counters) -> Int) -> Int {
            clients.reduce(0) { $0 + counter($1) }
        }
        family("breakwater_outbound_in_flight", "gauge", "Calls to others that are in hand.")
        sample("breakwater_outbound_in_flight", [], sum(\.inFlight))
        for (name, help, count) in [
            ("connections", "Connections that were made to others.", sum(\.connections)),
            ("reuses", "Requests on a connection that stood already.", sum(\.reuses)),
        ] {
            family("breakwater_outbound_\(name)_total", "counter", help)
            sample("breakwater_outbound_\(name)_total", [], count)
        }
    }

    private mutating func events(_ events: EventMetrics) {
        family("breakwater_events_total", "counter", "Events that were told here, by name.")
        for (name, count) in events.buffer.told.sorted(by: { $0.key < $1.key }) {
            sample("breakwater_events_total", [("event", name)], count)
        }
        for (name, help, count) in [
            ("events_stored", "Events that were brought to the table.", events.writer.stored),
            (
                "events_dropped", "Events that gave way to newer ones before they were stored.",
                events.buffer.dropped
            ),
            ("events_failed", "Events that the database did not take.", events.writer.failed),
            ("event_batches", "Statements that events cost.", events.writer.batches),
            ("event_polls", "Questions for new events, for all streams.", events.hub.polls),
            ("event_deliveries", "Events that streams were handed.", events.hub.delivered),
            (
                "event_streams_too_slow", "Streams that ended since their client did not keep up.",
                events.hub.tooSlow
            ),
        ] {
            family("breakwater_\(name)_total", "counter", help)
            sample("breakwater_\(name)_total", [], count)
        }
        family("breakwater_events_waiting", "gauge", "Events that wait to be stored.")
        sample("breakwater_events_waiting", [], events.waiting)
        family("breakwater_event_streams", "gauge", "Streams that follow events.")
        sample("breakwater_event_streams", [], events.hub.listeners)
    }

    mutating func family(_ name: String, _ type: String, _ help: String) {
        text += "# HELP \(name) \(help)\n# TYPE \(name) \(type)\n"
    }

    mutating func sample(_ name: String, _ labels: [(String, String)], _ value: Int) {
        let inside = labels.map { "\($0.0)=\"\($0.1)\"" }.joined(separator: ",")
        text += inside.isEmpty ? "\(name) \(value)\n" : "\(name){\(inside)} \(value)\n"
    }
}
