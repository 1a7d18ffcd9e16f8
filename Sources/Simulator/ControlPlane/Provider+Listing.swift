import HTTP
import IO
import JSON

extension Provider {
    /// What a list is asked for.
    private struct Query {
        var states: Set<Sandbox.State> = [.running]
        var metadata: [(name: String, value: String)] = []
        var limit = 100
        /// The number of the last sandbox of the page before.
        var token: Int?
        var isAscending = false
        var template: String?
    }

    func list(_ ask: Ask, isV2: Bool) throws(ProviderError) -> Answer {
        var query = Query()
        if isV2 { query.states = [.running, .paused] }
        try read(&query, ask.request, isV2)
        let now = clock.now
        let found = inventory.live { sandbox in
            sandbox.team == ask.team && query.states.contains(sandbox.state)
                && sandbox.listedFrom <= now && sandbox.carries(query.metadata)
                && (query.template ?? sandbox.template) == sandbox.template
        }
        let running = found.count { $0.state == .running }
        let ordered = query.isAscending ? found : found.reversed()
        let rest = ordered.filter { sandbox in
            guard let token = query.token else { return true }
            return query.isAscending ? sandbox.number > token : sandbox.number < token
        }
        let page = isV2 ? Array(rest.prefix(query.limit)) : rest
        var writer = JSONWriter(capacity: 512 * page.count + 16)
        writer.array { json in
            for sandbox in page { json.raw(listedJSON(sandbox)) }
        }
        var answer = Answer(200, writer.bytes)
        if isV2 {
            answer.fields.append(Field("X-Total-Running", String(running)))
            if rest.count > page.count, let last = page.last {
                answer.fields.append(Field("X-Next-Token", "s\(last.number)"))
            }
        }
        return answer
    }

    private func read(_ query: inout Query, _ request: Request, _ isV2: Bool) throws(ProviderError)
    {
        for item in request.queryItems {
            switch item.name {
            case "metadata": query.metadata = try Self.metadata(item.value)
            case "state" where isV2:
                query.states = []
                for word in item.value.split(separator: ",") {
                    guard let state = Sandbox.State(rawValue: String(word)), state != .ended else {
                        throw .validation("parameter \"state\" in query has an error")
                    }
                    query.states.insert(state)
                }
            case "limit" where isV2:
                guard let limit = Int(item.value), (1...100).contains(limit) else {
                    throw .validation("parameter \"limit\" in query has an error")
                }
                query.limit = limit
            case "nextToken" where isV2 && !item.value.isEmpty:
                guard item.value.hasPrefix("s"), let number = Int(item.value.dropFirst()) else {
                    throw ProviderError(400, "Invalid next token")
                }
                query.token = number
            case "order" where isV2: query.isAscending = item.value == "asc"
            case "template" where isV2: query.template = item.value
            default: break
            }
        }
    }

    /// `a=b&c=d` whose names and values are percent-encoded twice more: the SDK encodes them, then
    /// the pairs as a form, then the form as one item of the query.
    private static func metadata(
        _ text: String
    ) throws(ProviderError) -> [(name: String, value: String)] {
        var pairs: [(name: String, value: String)] = []
        for pair in text.split(separator: "&") {
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard let name = percentDecoded(percentDecoded(String(parts[0]), isForm: true)),
                let value = percentDecoded(
                    percentDecoded(parts.count > 1 ? String(parts[1]) : "", isForm: true))
            else { throw .validation("parameter \"metadata\" in query has an error") }
            pairs.append((name, value))
        }
        return pairs
    }
}

extension Sandbox {
    fileprivate func carries(_ wanted: [(name: String, value: String)]) -> Bool {
        wanted.allSatisfy { pair in
            metadata.contains { $0.name == pair.name && $0.value == pair.value }
        }
    }
}

/// Percent-decoded (RFC 3986 section 2.1); in a form "+" is a space. Nil for nil, a broken escape,
/// or what is not UTF-8.
func percentDecoded(_ text: String?, isForm: Bool = false) -> String? {
    guard let text else { return nil }
    var bytes: [UInt8] = []
    var rest = text.utf8[...]
    while let byte = rest.popFirst() {
        switch byte {
        case UInt8(ascii: "+") where isForm: bytes.append(0x20)
        case UInt8(ascii: "%"):
            guard let digits = String(rest.prefix(2)), digits.utf8.count == 2,
                !digits.hasPrefix("+"), let value = UInt8(digits, radix: 16)
            else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        default: bytes.append(byte)
        }
    }
    return String(validating: bytes, as: UTF8.self)
}
