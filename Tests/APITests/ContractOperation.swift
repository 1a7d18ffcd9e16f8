import Foundation
import Testing
import Yams

/// `openapi/breakwater.yaml`, read as any client would.
enum Contract {
    static let root = URL(filePath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().deletingLastPathComponent()

    static func document() throws -> [String: Any] {
        let text = try String(
            contentsOf: root.appending(path: "openapi/breakwater.yaml"), encoding: .utf8)
        return try #require(try Yams.load(yaml: text) as? [String: Any])
    }

    /// Every `urn:breakwater:problem:` that stands anywhere in `value` as a value of its own.
    static func problems(in value: Any) -> Set<String> {
        switch value {
        case let text as String where text.hasPrefix("urn:breakwater:problem:"): [text]
        case let list as [Any]: list.reduce(into: []) { $0.formUnion(problems(in: $1)) }
        case let object as [String: Any]:
            object.values.reduce(into: []) { $0.formUnion(problems(in: $1)) }
        default: []
        }
    }

    static func operations() throws -> [ContractOperation] {
        let document = try document()
        var operations: [ContractOperation] = []
        for (path, item) in try #require(document["paths"] as? [String: [String: Any]]) {
            for (method, value) in item {
                guard let value = value as? [String: Any], value["operationId"] != nil else {
                    continue
                }
                operations.append(
                    try ContractOperation(
                        method, path, value, parameters: item["parameters"], of: document))
            }
        }
        return operations.sorted { $0.id < $1.id }
    }

    /// What a `$ref` stands for; anything else itself.
    static func resolved(_ value: Any?, in document: [String: Any]) -> [String: Any] {
        guard let object = value as? [String: Any], let reference = object["$ref"] as? String else {
            return value as? [String: Any] ?? [:]
        }
        var place: Any = document
        for part in reference.dropFirst(2).split(separator: "/") {
            place = (place as? [String: Any])?[String(part)] ?? [:]
        }
        return place as? [String: Any] ?? [:]
    }
}

/// What the contract says of one operation, as far as it is needed to call it wrongly.
struct ContractOperation {
    let id: String
    let method: String
    let pattern: String
    /// Examples of what stands in its pattern's places.
    private let examples: [String: String]
    /// What its query must have, from its examples.
    private let query: String
    /// The first example of its body; nil if it takes none.
    let body: String?
    /// Its answer is a stream that has no end.
    let isEndless: Bool
    /// A key needs one of these; empty: it needs no key.
    let scopes: Set<String>
    /// The names of the problems that it may answer with, by status.
    let problems: [Int: Set<String>]

    init(
        _ method: String, _ path: String, _ value: [String: Any], parameters: Any?,
        of document: [String: Any]
    ) throws {
        self.method = method.uppercased()
        pattern = path
        id = try #require(value["operationId"] as? String)
        scopes = Set(value["x-scopes"] as? [String] ?? [])
        let own = ((parameters as? [Any] ?? []) + (value["parameters"] as? [Any] ?? []))
            .map { Contract.resolved($0, in: document) }
        func examples(_ place: String) -> [(String, String)] {
            own.filter { $0["in"] as? String == place && $0["required"] as? Bool == true }
                .map { ("\($0["name"] ?? "")", "\($0["example"] ?? "")") }
        }
        self.examples = Dictionary(uniqueKeysWithValues: examples("path"))
        query = examples("query").map { "\($0)=\($1)" }.joined(separator: "&")
        let content = Contract.resolved(value["requestBody"], in: document)["content"]
        let json = (content as? [String: [String: Any]])?["application/json"]
        let bodies = json?["examples"] as? [String: [String: Any]] ?? [:]
        let example = json?["example"] ?? bodies.min { $0.key < $1.key }?.value["value"]
        body = try json.map { _ in
            String(
                decoding: try JSONSerialization.data(withJSONObject: example ?? [:]), as: UTF8.self)
        }
        let answers = value["responses"] as? [String: Any] ?? [:]
        let answer = Contract.resolved(answers["200"], in: document)["content"]
        isEndless = (answer as? [String: Any])?["text/event-stream"] != nil
        var problems: [Int: Set<String>] = [:]
        for (status, response) in answers {
            guard let code = Int(status), code >= 400 else { continue }
            let names = Contract.problems(in: Contract.resolved(response, in: document))
            problems[code] = Set(
                names.map { String($0.dropFirst("urn:breakwater:problem:".count)) })
        }
        self.problems = problems
    }

    /// Its path, with `values` in the places of those names and the examples in others, and its query.
    func target(_ values: [String: String] = [:], query more: String = "") -> String {
        let path = examples.reduce(pattern) { path, example in
            path.replacing("{\(example.key)}", with: values[example.key] ?? example.value)
        }
        let items = [query, more].filter { !$0.isEmpty }.joined(separator: "&")
        return items.isEmpty ? path : path + "?" + items
    }

    /// Its path with names in all places that nothing has.
    var targetOfNothing: String { target(examples.mapValues { _ in "NO-SUCH" }) }
}
