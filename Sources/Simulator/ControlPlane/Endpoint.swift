import HTTP

/// What the control plane can be asked. `isV2` where the second API differs.
package enum Endpoint: Hashable, Sendable {
    case create(isV2: Bool)
    case connect(isV2: Bool)
    case resume, detail, kill, timeout, refresh, pause, metrics, logs, network
    case list(isV2: Bool)
    case allMetrics, snapshots, template, unknown

    package var operation: Operation {
        switch self {
        case .create: .create
        case .connect: .connect
        case .resume: .resume
        case .detail: .get
        case .kill: .kill
        case .timeout: .timeout
        case .refresh: .refresh
        case .pause: .pause
        case .metrics, .allMetrics: .metrics
        case .list: .list
        case .template: .template
        case .logs, .network, .snapshots, .unknown: .other
        }
    }

    /// The paths, as `spec/openapi.yml` of E2B's infra repository has them.
    static let paths: [(method: Method, pattern: RoutePattern, endpoint: Endpoint)] = [
        (.post, "/sandboxes", .create(isV2: false)),
        (.post, "/v2/sandboxes", .create(isV2: true)),
        (.get, "/sandboxes", .list(isV2: false)),
        (.get, "/v2/sandboxes", .list(isV2: true)),
        (.get, "/sandboxes/metrics", .allMetrics),
        (.get, "/sandboxes/{id}", .detail),
        (.delete, "/sandboxes/{id}", .kill),
        (.post, "/sandboxes/{id}/connect", .connect(isV2: false)),
        (.post, "/v2/sandboxes/{id}/connect", .connect(isV2: true)),
        (.post, "/sandboxes/{id}/resume", .resume),
        (.post, "/sandboxes/{id}/pause", .pause),
        (.post, "/sandboxes/{id}/timeout", .timeout),
        (.post, "/sandboxes/{id}/refreshes", .refresh),
        (.get, "/sandboxes/{id}/metrics", .metrics),
        (.get, "/sandboxes/{id}/logs", .logs),
        (.get, "/v2/sandboxes/{id}/logs", .logs),
        (.put, "/sandboxes/{id}/network", .network),
        (.get, "/snapshots", .snapshots),
        (.get, "/templates/aliases/{alias}", .template),
    ]
}

extension Provider {
    /// Does what was asked.
    func perform(
        _ endpoint: Endpoint, _ ask: Ask, _ injection: FaultEngine.Injection, at now: Duration
    ) throws(ProviderError) -> Answer {
        switch endpoint {
        case .create: try create(ask, injection, at: now)
        case .connect(let isV2): try connect(ask, isV2: isV2, at: now)
        case .resume: try resume(ask, at: now)
        case .detail: Answer(200, detailJSON(try sandbox(ask), ask.region))
        case .kill: try kill(ask, at: now)
        case .timeout: try setTimeout(ask, at: now)
        case .refresh: try refresh(ask, at: now)
        case .pause: try pause(ask, at: now)
        case .metrics: Answer(200, metricsJSON(try sandbox(ask), at: now))
        case .logs:
            Answer(200, logsJSON(try sandbox(ask)))
        case .network: Answer(204, sandbox: try sandbox(ask))
        case .list(let isV2): try list(ask, isV2: isV2)
        case .allMetrics: Answer(200, Array(#"{"sandboxes":{}}"#.utf8))
        case .snapshots: Answer(200, Array("[]".utf8))
        case .template: try template(ask)
        case .unknown: throw ProviderError(404, "path not found")
        }
    }
}
