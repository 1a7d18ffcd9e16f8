package import JSON
package import Postgres

/// A sandbox as its provider tells of it.
package struct ProviderSandbox: Sendable {
    /// The provider's id, without the client's id that old ones have behind a hyphen.
    package let id: String
    package let template: String
    package let domain: String?
    package let accessToken: String?
    package let metadata: [(name: String, value: String)]
    package let startedAt: Timestamp?
    package let endsAt: Timestamp?
    package let isPaused: Bool
    /// The whole answer, for callers who speak the provider's language.
    package let document: JSONValue

    /// Nil if what every such answer has is missing.
    init?(_ document: JSONValue) {
        guard let id = document["sandboxID"]?.string, !id.isEmpty, id.utf8.count <= 200,
            let template = document["templateID"]?.string
        else { return nil }
        self.id = Self.bare(id)
        self.template = template
        domain = document["domain"]?.string
        accessToken = document["envdAccessToken"]?.string
        startedAt = document["startedAt"]?.string.flatMap { Timestamp($0) }
        endsAt = document["endAt"]?.string.flatMap { Timestamp($0) }
        isPaused = document["state"]?.string == "paused"
        var metadata: [(name: String, value: String)] = []
        if case .object(let members)? = document["metadata"] {
            for member in members {
                guard let value = member.value.string else { continue }
                metadata.append((member.name, value))
            }
        }
        self.metadata = metadata
        self.document = document
    }

    func metadata(_ name: String) -> String? { metadata.first { $0.name == name }?.value }

    /// `<id>-<clientID>`, as old SDKs send it, without the second part.
    package static func bare(_ id: String) -> String { String(id.prefix { $0 != "-" }) }
}

extension JSONValue {
    package var string: String? { if case .string(let text) = self { text } else { nil } }

    /// The same object with a member set, in its place if it has one.
    package func setting(_ name: String, _ value: JSONValue) -> JSONValue {
        guard case .object(var members) = self else { return self }
        let member = JSONMember(name: name, value: value)
        if let index = members.firstIndex(where: { $0.name.utf8.elementsEqual(name.utf8) }) {
            members[index] = member
        } else {
            members.append(member)
        }
        return .object(members)
    }

    package func removing(_ name: String) -> JSONValue {
        guard case .object(let members) = self else { return self }
        return .object(members.filter { !$0.name.utf8.elementsEqual(name.utf8) })
    }
}
