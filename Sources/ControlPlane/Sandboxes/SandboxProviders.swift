package import IO
package import JSON
package import Outbound
package import Postgres

/// Where a provider is and how it is entered.
package struct ProviderEndpoint: Hashable, Sendable {
    package let api: UpstreamURL
    package let apiKey: String
    /// Of its data plane, where an answer does not say: `e2b.app`.
    package let domain: String?
    /// One address for the data plane of all sandboxes, which are told apart by fields; nil: each has a
    /// host of its own under the domain.
    package let dataPlane: UpstreamURL?

    package init(
        api: UpstreamURL, apiKey: String, domain: String? = nil, dataPlane: UpstreamURL? = nil
    ) {
        self.api = api
        self.apiKey = apiKey
        self.domain = domain
        self.dataPlane = dataPlane
    }
}

extension ProviderEndpoint: CustomStringConvertible {
    package var description: String { "\(api.host):\(api.port)" }
}

/// The control planes of providers that speak E2B's API, of one loop.
///
/// Nothing is retried here, and every failure is told as facts: who calls decides. A call that is
/// cancelled ends at once.
package actor SandboxProviders: LoopBound {
    /// Sandboxes of one page of a list: what the API gives at most.
    private static let pageSize = 100
    /// Pages of one list; past it the list is not complete.
    private static let maxPages = 200

    package nonisolated let loop: EventLoop
    package nonisolated let http: HTTPClient
    /// Servers that knew no `/v2` of creating, and until when that is believed: one 404 may come from what
    /// stands before them.
    private var old: [UpstreamURL: MonotonicInstant] = [:]
    private static let oldness: Duration = .seconds(600)

    package init(on loop: EventLoop, _ http: HTTPClient) {
        self.loop = loop
        self.http = http
    }

    // MARK: Calls

    /// Creates one, by the newer API if the server has it.
    ///
    /// - Parameters:
    ///   - body: as the newer API takes it.
    ///   - once: the same for the same try: a server that knows the field makes one sandbox for it.
    package func create(
        _ body: JSONValue, once: UUID, at endpoint: ProviderEndpoint, within deadline: Duration,
        traceparent: String?
    ) async throws(TryError) -> ProviderSandbox {
        if old[endpoint.api].map({ $0 <= .now }) ?? true {
            let response = try await send(
                "POST", "/v2/sandboxes", body, endpoint, deadline, traceparent,
                fields: [HTTPClient.Field("Idempotency-Key", once.description)])
            // A server that has the path names the template that it lacks.
            guard response.status == 404, !response.mentions("template") else {
                return try created(response)
            }
            old[endpoint.api] = .now.advanced(by: Self.oldness)
        }
        return try created(
            await send(
                "POST", "/sandboxes", body.setting("secure", .bool(true)), endpoint, deadline,
                traceparent))
    }

    /// As it is there; nil: there is none.
    package func find(
        _ id: String, at endpoint: ProviderEndpoint, within deadline: Duration
    ) async throws(TryError) -> ProviderSandbox? {
        let response = try await send("GET", "/sandboxes/\(id)", nil, endpoint, deadline)
        if response.status == 404 { return nil }
        return try made(response)
    }

    /// Whether it was there to be killed.
    package func kill(
        _ id: String, at endpoint: ProviderEndpoint, within deadline: Duration
    ) async throws(TryError) -> Bool {
        let response = try await send("DELETE", "/sandboxes/\(id)", nil, endpoint, deadline)
        if response.status == 404 { return false }
        try check(response)
        return true
    }

    /// Makes it live for so long from now on. False: there is none.
    package func extend(
        _ id: String, to life: Duration, at endpoint: ProviderEndpoint, within deadline: Duration
    ) async throws(TryError) -> Bool {
        let seconds = max(Int((life.milliseconds + 999) / 1000), 1)
        let response = try await send(
            "POST", "/sandboxes/\(id)/timeout",
            .object([JSONMember(name: "timeout", value: .number(JSONNumber(seconds)))]), endpoint,
            deadline)
        if response.status == 404 { return false }
        try check(response)
        return true
    }

    /// All sandboxes with these metadata, running and paused ones. Throws if any page is missing: a part
    /// of a list proves nothing.
    package func list(
        metadata: [(name: String, value: String)], at endpoint: ProviderEndpoint,
        within deadline: Duration
    ) async throws(TryError) -> [ProviderSandbox] {
        let wanted = metadata.map { "\(encoded($0.name))=\(encoded($0.value))" }
            .joined(separator: "&")
        var all: [ProviderSandbox] = []
        var token: String?
        for _ in 0..<Self.maxPages {
            var target =
                "/v2/sandboxes?state=running%2Cpaused&limit=\(Self.pageSize)&metadata=\(encoded(wanted))"
            if let token { target += "&nextToken=\(encoded(token))" }
            let response = try await send("GET", target, nil, endpoint, deadline)
            try check(response)
            guard case .array(let items)? = JSONValue(bytes: response.body) else {
                throw .failed(.unreadable(response.status))
            }
            for item in items {
                guard let sandbox = ProviderSandbox(item) else {
                    throw .failed(.unreadable(response.status))
                }
                all.append(sandbox)
            }
            token = response.head.value("X-Next-Token").flatMap { $0.isEmpty ? nil : $0 }
            if token == nil { return all }
        }
        throw .failed(.unreadable(200))
    }

    /// Any other call, as it is.
    package func pass(
        _ request: HTTPClient.Request
    ) async throws(HTTPClient.Failure) -> HTTPClient.Response {
        try await http.send(request)
    }

    // MARK: Sending

    private func send(
        _ method: String, _ target: String, _ body: JSONValue?, _ endpoint: ProviderEndpoint,
        _ deadline: Duration, _ traceparent: String? = nil, fields more: [HTTPClient.Field] = []
    ) async throws(TryError) -> HTTPClient.Response {
        guard let url = endpoint.api.appending(target) else {
            throw .failed(.refusedHere("the path is no path of the API"))
        }
        var fields = [
            HTTPClient.Field("X-API-Key", endpoint.apiKey),
            HTTPClient.Field("User-Agent", "breakwater"), HTTPClient.Field("Accept", "*/*"),
        ]
        if body != nil { fields.append(HTTPClient.Field("Content-Type", "application/json")) }
        if let traceparent { fields.append(HTTPClient.Field("traceparent", traceparent)) }
        let request = HTTPClient.Request(
            method, url, fields: fields + more, body: body.map(\.bytes), deadline: deadline)
        do throws(HTTPClient.Failure) {
            return try await http.send(request)
        } catch {
            if error.kind == .cancelled, !error.mayHaveBeenApplied { throw .cancelled }
            // Too many calls are in hand here: it says nothing of the provider.
            if error.kind == .overloaded { throw .refused(.budget, retryAfter: .seconds(1)) }
            throw .failed(ErrorFacts(error))
        }
    }

    /// What its caller gets, who cannot read one without a template.
    private func created(
        _ response: HTTPClient.Response
    ) throws(TryError) -> ProviderSandbox {
        let sandbox = try made(response)
        guard !sandbox.template.isEmpty else { throw .failed(.unreadable(response.status)) }
        return sandbox
    }

    private func made(_ response: HTTPClient.Response) throws(TryError) -> ProviderSandbox {
        try check(response)
        guard let document = JSONValue(bytes: response.body),
            let sandbox = ProviderSandbox(document)
        else { throw .failed(.unreadable(response.status)) }
        return sandbox
    }

    private func check(_ response: HTTPClient.Response) throws(TryError) {
        guard !(200...299).contains(response.status) else { return }
        throw .failed(ErrorFacts(response))
    }
}

/// Every octet but the unreserved ones (RFC 3986 section 2.3).
private func encoded(_ text: String) -> String {
    var encoded = ""
    for octet in text.utf8 {
        if isUnreserved(octet) {
            encoded.unicodeScalars.append(Unicode.Scalar(octet))
        } else {
            encoded += "%" + hexadecimal([octet]).uppercased()
        }
    }
    return encoded
}

extension JSONValue {
    /// Nil if it is no JSON.
    package init?(bytes: [UInt8]) {
        guard let whole = try? JSONReader.decode(WholeValue.self, from: bytes) else { return nil }
        self = whole.value
    }

    package var bytes: [UInt8] {
        var writer = JSONWriter()
        writer.value(self)
        return writer.bytes
    }
}

private struct WholeValue: JSONReadable {
    let value: JSONValue
    init(from reader: inout JSONReader) throws(JSONError) { value = try reader.readValue() }
}

extension HTTPClient.Response {
    /// The message of an error, in any case of letters.
    fileprivate func mentions(_ word: String) -> Bool {
        String(decoding: body.prefix(4096), as: UTF8.self).lowercased().contains(word)
    }
}
