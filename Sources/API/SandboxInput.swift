internal import ControlPlane
internal import IO
internal import JSON

/// The body of `createSandbox`.
struct SandboxInput: JSONReadable {
    /// Members of metadata and of the environment.
    static let maxMembers = 64

    var template: String?
    var framework: String?
    var region: String?
    var life: Duration?
    var deadline: Duration?
    var maxAttempts: Int?
    var fallbackRule: FallbackRule?
    var healthCheck: HealthCheckMode?
    var metadata: [(name: String, value: String)] = []
    var environment: [(name: String, value: String)] = []

    init(from reader: inout JSONReader) throws(JSONError) {
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "template": template = try reader.readLabel(1...200)
            case "framework": framework = try reader.readLabel(1...100)
            case "region": region = try reader.readLabel(1...40)
            case "timeoutMs": life = .milliseconds(try reader.readInt(in: 1000...86_400_000))
            case "deadlineMs": deadline = .milliseconds(try reader.readInt(in: 1000...600_000))
            case "maxAttempts":
                maxAttempts = try reader.readInt(in: 1...RetryPolicy.mostAttempts)
            case "fallbackOn": fallbackRule = try reader.readChoice()
            case "healthCheck": healthCheck = try reader.readChoice()
            case "metadata": metadata = try reader.readTexts()
            case "envVars": environment = try reader.readTexts()
            default: throw reader.unknownField(key)
            }
        }
        if let ours = metadata.first(where: { SandboxTag.isOurs($0.name) }) {
            throw reader.failure(
                .range, "has metadata \(ours.name): names with breakwater. are the service's own")
        }
    }

    /// What goes to the provider beside template, life and metadata.
    var body: JSONValue {
        guard !environment.isEmpty else { return .object([]) }
        let members = environment.map { JSONMember(name: $0.name, value: .string($0.value)) }
        return .object([JSONMember(name: "envVars", value: .object(members))])
    }
}

/// The body of `setSandboxTimeout`.
struct SandboxTimeoutInput: JSONReadable {
    let life: Duration

    init(from reader: inout JSONReader) throws(JSONError) {
        var life: Int?
        try reader.readObject { key, reader throws(JSONError) in
            guard key == "timeoutMs" else { throw reader.unknownField(key) }
            life = try reader.readInt(in: 1000...86_400_000)
        }
        self.life = .milliseconds(try reader.require(life, "timeoutMs"))
    }
}

extension JSONReader {
    fileprivate mutating func readTexts() throws(JSONError) -> [(name: String, value: String)] {
        var texts: [(name: String, value: String)] = []
        try readObject { key, reader throws(JSONError) in
            let (name, value) = (key.string, try reader.readString(maxBytes: 32_768))
            guard (1...256).contains(name.utf8.count), !(name + value).contains("\0") else {
                throw reader.failure(
                    .length, "needs names of 1 to 256 octets, and no U+0000 in names and values")
            }
            texts.append((name, value))
            if texts.count > SandboxInput.maxMembers {
                throw reader.failure(
                    .count, "is one member too many: at most \(SandboxInput.maxMembers)")
            }
        }
        return texts
    }
}
