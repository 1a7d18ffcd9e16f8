import IO
package import JSON

/// One call that the simulator was asked, and what it did.
package struct CallRecord: Sendable {
    /// 1, 2, 3, ... in the order of answers.
    package var number = 0
    /// When it came, and how long the answer took.
    package var at: Duration
    package var took: Duration = .zero
    package var region: String
    package var operation: Operation
    package var method: String
    /// Without its query; at most 200 octets.
    package var path: String
    package var keyID: String?
    package var idempotencyKey: String?
    /// The caller's `traceparent` and `User-Agent`, at most 200 octets each.
    package var traceparent: String?
    package var userAgent: String?
    package var template: String?
    package var sandboxID: String?
    package var metadata: [(name: String, value: String)] = []
    /// The faults that hit it.
    package var injected: [String] = []
    /// The status that was sent; nil if the caller got none.
    package var status: Int?
    package var errorCode: String?
    /// How the answer ended if not in order: reset, close, hang, resetInBody, malformed, missingField.
    package var ending: String?
    /// Whether what was asked has been done.
    package var isApplied = false

    package init(
        at: Duration, region: String, operation: Operation, method: String, path: String
    ) {
        self.at = at
        self.region = region
        self.operation = operation
        self.method = method
        self.path = path
    }

    /// For totals: the status, else how it ended.
    var outcome: String { status.map { String($0) } ?? ending ?? "-" }
}

extension CallRecord: JSONWritable {
    package func write(to writer: inout JSONWriter) {
        writer.object { json in
            json.member("number", number)
            json.member("atMs", at.milliseconds)
            json.member("tookMs", took.milliseconds)
            json.member("region", region)
            json.member("operation", operation.rawValue)
            json.member("method", method)
            json.member("path", path)
            json.member("keyId", ifPresent: keyID)
            json.member("idempotencyKey", ifPresent: idempotencyKey)
            json.member("traceparent", ifPresent: traceparent)
            json.member("userAgent", ifPresent: userAgent)
            json.member("template", ifPresent: template)
            json.member("sandboxID", ifPresent: sandboxID)
            json.member("metadata", metadata)
            json.member("injected", injected)
            json.member("status", ifPresent: status)
            json.member("errorCode", ifPresent: errorCode)
            json.member("ending", ifPresent: ending)
            json.member("applied", isApplied)
        }
    }
}

extension JSONWriter {
    /// An object of strings.
    mutating func member(_ name: String, _ pairs: [(name: String, value: String)]) {
        object(name) { json in
            for pair in pairs { json.member(pair.name, pair.value) }
        }
    }

    /// An object of counts, by name.
    mutating func member(_ name: String, counts: [String: Int]) {
        object(name) { json in
            for (key, count) in counts.sorted(by: { $0.key < $1.key }) { json.member(key, count) }
        }
    }
}
