internal import ControlPlane
internal import JSON

/// The body of `recordRequest`, and one of a batch.
struct RecordInput: JSONReadable {
    let operation: String
    let cost: Int32
    let marks: Marks

    init(from reader: inout JSONReader) throws(JSONError) {
        var operation: String?
        var cost = 1
        var marks = Marks()
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "operation": operation = try reader.readOperation()
            case "cost": cost = try reader.readInt(in: 1...1_000_000)
            default: try marks.read(key, &reader)
            }
        }
        self.operation = try reader.require(operation, "operation")
        self.cost = Int32(cost)
        self.marks = marks
    }

    func ask(idempotency: Idempotency?) -> Ask {
        Ask(operation, cost: cost, isLimited: false, identity: marks.identity(idempotency))
    }
}

/// The body of `acquire`, and one of a batch.
struct AcquireInput: JSONReadable {
    let operation: String
    let cost: Int32
    let maxPerHour: Int64?
    let marks: Marks

    init(from reader: inout JSONReader) throws(JSONError) {
        var operation: String?
        var cost = 1
        var limit: Int?
        var marks = Marks()
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "operation": operation = try reader.readOperation()
            case "cost": cost = try reader.readInt(in: 1...1_000_000)
            case "maxPerHour": limit = try reader.readInt(in: Limit.units)
            default: try marks.read(key, &reader)
            }
        }
        self.operation = try reader.require(operation, "operation")
        self.maxPerHour = limit.map { Int64($0) }
        self.cost = Int32(cost)
        self.marks = marks
    }

    func ask(idempotency: Idempotency?) -> Ask {
        Ask(operation, cost: cost, maxPerHour: maxPerHour, identity: marks.identity(idempotency))
    }
}

/// What tells a request from others: `"id": true` and `labels`.
struct Marks {
    /// The most labels of a request, and the longest name and value in characters.
    static let maxLabels = 16
    static let maxName = 64
    static let maxValue = 256

    private var wantsID = false
    private var labels: [(name: String, value: String)] = []

    /// Reads one of its members. Throws for any other.
    mutating func read(_ key: JSONKey, _ reader: inout JSONReader) throws(JSONError) {
        switch key {
        case "id": wantsID = try reader.readBool()
        case "labels": labels = try reader.readLabels()
        default: throw reader.unknownField(key)
        }
    }

    func identity(_ idempotency: Idempotency?) -> Ask.Identity? {
        guard wantsID || !labels.isEmpty || idempotency != nil else { return nil }
        var text: String?
        if !labels.isEmpty {
            var writer = JSONWriter()
            writer.object { for label in labels { $0.member(label.name, label.value) } }
            text = String(decoding: writer.bytes, as: UTF8.self)
        }
        return Ask.Identity(labels: text, idempotency: idempotency)
    }
}

extension JSONReader {
    fileprivate mutating func readLabels() throws(JSONError) -> [(name: String, value: String)] {
        var labels: [(name: String, value: String)] = []
        try readObject { key, reader throws(JSONError) in
            let name = key.string
            let value = try reader.readString(maxBytes: 4 * Marks.maxValue)
            guard (1...Marks.maxName).contains(name.unicodeScalars.count),
                value.unicodeScalars.count <= Marks.maxValue, !(name + value).contains("\0")
            else {
                throw reader.failure(
                    .length,
                    "needs a name of 1 to \(Marks.maxName) characters and a value of at most \(Marks.maxValue), without U+0000"
                )
            }
            labels.append((name, value))
            if labels.count > Marks.maxLabels {
                throw reader.failure(.count, "is one label too many: at most \(Marks.maxLabels)")
            }
        }
        return labels
    }
}

/// The body of `refundRequest`.
struct RefundInput: JSONReadable {
    /// Units to give back; nil: all.
    let cost: Int32?

    init(from reader: inout JSONReader) throws(JSONError) {
        var cost: Int?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "cost": cost = try reader.readInt(in: 1...1_000_000)
            default: throw reader.unknownField(key)
            }
        }
        self.cost = cost.map { Int32($0) }
    }
}

/// A body that says nothing: `{}`.
struct NoInput: JSONReadable {
    init(from reader: inout JSONReader) throws(JSONError) {
        try reader.readObject { key, reader throws(JSONError) in throw reader.unknownField(key) }
    }
}
