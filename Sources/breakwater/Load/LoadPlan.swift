import JSON

/// What a load asks: one call over a number of keys, made ready to be sent.
struct LoadPlan: Sendable {
    enum Call: String, CaseIterable, Sendable {
        case record, check, acquire, permit, stats

        /// What the service may answer when all is well.
        var wanted: Set<Int> {
            switch self {
            case .record: [201]
            case .check, .permit, .stats: [200]
            case .acquire: [200, 429]
            }
        }
    }

    /// A request for each key.
    let requests: [[UInt8]]
    let wanted: Set<Int>
    var sampler: KeySampler

    init(
        _ call: Call, host: String, key: String, keys: Int,
        distribution: KeySampler.Distribution, cost: Int, maxPerHour: Int?
    ) {
        sampler = KeySampler(distribution, count: keys)
        wanted = call.wanted
        requests = (0..<keys).map { number in
            let operation = "bench-\(number)"
            var body = JSONWriter()
            body.object { writer in
                writer.member("operation", operation)
                if cost != 1 { writer.member("cost", cost) }
                if call == .acquire || call == .permit { writer.member("maxPerHour", ifPresent: maxPerHour) }
            }
            let (method, path) =
                switch call {
                case .record: ("POST", "/v1/requests")
                case .acquire: ("POST", "/v1/rate-limits/acquire")
                case .permit: ("POST", "/v1/attempts")
                case .check:
                    (
                        "GET",
                        "/v1/rate-limits/check?operation=\(operation)"
                            + (maxPerHour.map { "&maxPerHour=\($0)" } ?? "")
                    )
                case .stats: ("GET", "/v1/stats")
                }
            var head =
                "\(method) \(path) HTTP/1.1\r\nHost: \(host)\r\nAuthorization: Bearer \(key)\r\n"
            if method == "POST" {
                head += "Content-Type: application/json\r\nContent-Length: \(body.bytes.count)\r\n"
            }
            return Array((head + "\r\n").utf8) + (method == "POST" ? body.bytes : [])
        }
    }
}
