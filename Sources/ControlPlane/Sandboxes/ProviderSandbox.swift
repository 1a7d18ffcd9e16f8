package import JSON
package import Postgres

/// A sandbox as its provider tells of it.
package struct ProviderSandbox: Sendable {
    /// The provider's id, without the client's id that old ones have behind a hyphen.
    package let id: String
    /// Empty: it does not say.
    package let template: String
    package let domain: String?
    package let accessToken: String?
    package let metadata: [(name: String, value: String)]
    package let startedAt: Timestamp?
    package let endsAt: Timestamp?
    package let isPaused: Bool
    /// The whole answer, for callers who speak the provider's language.
    package let document: JSONValue

    /// Nil if it has no id, or one that cannot be part of a path.
    init?(_ document: JSONValue) {
        guard let id = document["sandboxID"]?.string else { return nil }
        self.id = Self.bare(id, ofClient: document["clientID"]?.string)
        guard (1...200).contains(self.id.utf8.count), self.id.utf8.allSatisfy(isUnreserved),
            self.id != ".", self.id != ".."
        else { return nil }
        template = document["templateID"]?.string.flatMap(visible) ?? ""
        domain = document["domain"]?.string.flatMap(visible)
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

    /// `<id>-<clientID>` without the second part.
    private static func bare(_ id: String, ofClient client: String?) -> String {
        guard let client, !client.isEmpty, id.hasSuffix("-" + client) else { return id }
        return String(id.dropLast(client.count + 1))
    }

    /// The same where the client's id is not known: nil if there is no second part.
    package static func bare(_ id: String) -> String? {
        id.lastIndex(of: "-").map { String(id[..<$0]) }
    }
}

/// RFC 3986 section 2.3: it stands for itself in a path, as an id must.
func isUnreserved(_ octet: UInt8) -> Bool {
    switch octet {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."),
        UInt8(ascii: "_"), UInt8(ascii: "~"):
        true
    default: false
    }
}

/// Nil: it is no name, or holds what is none, such as U+0000.
private func visible(_ text: String) -> String? {
    text.utf8.count <= 253 && text.utf8.allSatisfy { (0x21...0x7E).contains($0) } ? text : nil
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
