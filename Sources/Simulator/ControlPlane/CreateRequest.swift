import JSON

/// What a creation asks for. Members that a simulator has no use for are passed over.
struct CreateRequest: Sendable {
    var template: String
    var timeout: Duration
    var metadata: [(name: String, value: String)] = []
    var autoPause = false
    var isSecure: Bool

    /// - Parameter isV2: whose sandboxes are always secured and live 300 s by default, not 15.
    init(_ body: [UInt8], isV2: Bool, _ limits: RegionScript.Limits) throws(ProviderError) {
        let document = try readDocument(body)
        guard case .string(let template)? = document["templateID"], !template.isEmpty else {
            throw .validation("request body has an error: property \"templateID\" is missing")
        }
        self.template = String(template.prefix(200))
        timeout = try readTimeout(document, default: isV2 ? 300 : 15, limits)
        if case .bool(true)? = document["autoPause"] { autoPause = true }
        isSecure = isV2
        if case .bool(true)? = document["secure"] { isSecure = true }
        metadata = try Self.readMetadata(document["metadata"])
    }

    /// Strings, at most 4 KiB in all: the book keeps them.
    private static func readMetadata(
        _ value: JSONValue?
    ) throws(ProviderError) -> [(name: String, value: String)] {
        guard let value, value != .null else { return [] }
        guard case .object(let members) = value else {
            throw .validation("request body has an error: metadata must be an object")
        }
        var metadata: [(name: String, value: String)] = []
        var size = 0
        for member in members {
            guard case .string(let text) = member.value else {
                throw .validation("request body has an error: metadata must be strings")
            }
            size += member.name.utf8.count + text.utf8.count
            metadata.append((member.name, text))
        }
        guard size <= 4096 else {
            throw .validation("request body has an error: metadata is longer than 4096 bytes")
        }
        return metadata
    }
}

/// An object; an empty body is one without members.
func readDocument(_ body: [UInt8]) throws(ProviderError) -> JSONValue {
    if body.isEmpty { return .object([]) }
    do throws(JSONError) {
        let document = try JSONReader.decode(JSONValue.self, from: body)
        guard case .object = document else {
            throw JSONError(.type, at: "", offset: 0, "expected an object")
        }
        return document
    } catch {
        throw .validation("request body has an error: failed to decode: \(error.message)")
    }
}

/// `timeout` in seconds. Nil as default: it must be there.
func readTimeout(
    _ document: JSONValue, default usual: Int?, _ limits: RegionScript.Limits
) throws(ProviderError) -> Duration {
    let seconds: Int
    switch document["timeout"] {
    case nil, .null?:
        guard let usual else {
            throw .validation("request body has an error: property \"timeout\" is missing")
        }
        seconds = usual
    case .number(let number)?:
        guard let whole = number.int else {
            throw .validation("request body has an error: timeout must be an integer")
        }
        seconds = whole
    default: throw .validation("request body has an error: timeout must be an integer")
    }
    guard seconds > 0 else { throw .timeoutTooShort }
    guard seconds <= limits.maxTimeout.components.seconds else {
        throw .timeoutTooLong(limits.maxTimeout)
    }
    return .seconds(seconds)
}
