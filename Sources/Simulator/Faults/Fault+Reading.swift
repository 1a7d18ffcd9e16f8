import JSON

extension Fault {
    init(from reader: inout JSONReader) throws(JSONError) {
        self.init(effects: [])
        var intensities = 0
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "name": name = try reader.readName()
            case "regions": regions = try reader.readNames()
            case "keys": keys = try reader.readNames()
            case "templates": templates = try reader.readNames()
            case "operations": operations = try reader.readOperations()
            case "fromS": from = try reader.readSeconds(in: 0...31_536_000)
            case "forS": length = try reader.readSeconds(in: 0.001...31_536_000)
            case "rate", "phases", "bursts":
                intensity = try Intensity(key, from: &reader)
                intensities += 1
            case "skip": skip = try reader.readInt(in: 0...1_000_000_000)
            case "limit": limit = try reader.readInt(in: 1...1_000_000_000)
            case "effects":
                try reader.readArray(maxCount: 64) { _, reader throws(JSONError) in
                    effects.append(try Effect(from: &reader))
                }
            default: throw reader.unknownField(key)
            }
        }
        guard !effects.isEmpty else { throw reader.missingField("effects") }
        guard intensities <= 1 else {
            throw reader.failure(.count, "expected one of rate, phases and bursts")
        }
        if operations != [.create], effects.contains(where: \.action.isAboutNewSandbox) {
            throw reader.failure(
                .range,
                "zombie, vanish and lateInList befall creation: expected no other operations")
        }
    }
}

extension Effect.Action {
    fileprivate var isAboutNewSandbox: Bool {
        switch self {
        case .zombie, .vanish, .lateInList: true
        default: false
        }
    }
}

extension JSONReader {
    fileprivate mutating func readOperations() throws(JSONError) -> Set<Operation> {
        var operations: Set<Operation> = []
        try readArray(maxCount: 64) { _, reader throws(JSONError) in
            operations.insert(try reader.readCase())
        }
        guard !operations.isEmpty else { throw failure(.count, "expected an operation") }
        return operations
    }
}

extension Intensity {
    fileprivate init(_ key: JSONKey, from reader: inout JSONReader) throws(JSONError) {
        switch key {
        case "rate": self = .rate(try reader.readDouble(in: 0...1))
        case "bursts": self = .bursts(try Bursts(from: &reader))
        default:
            var phases: [Phase] = []
            try reader.readArray(maxCount: 256) { _, reader throws(JSONError) in
                phases.append(try Phase(from: &reader))
            }
            guard !phases.isEmpty else { throw reader.failure(.count, "expected a phase") }
            self = .phases(phases)
        }
    }
}

extension Intensity.Phase {
    init(from reader: inout JSONReader) throws(JSONError) {
        var (length, rate, toRate): (Duration?, Double?, Double?)
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "forS": length = try reader.readSeconds(in: 0.001...31_536_000)
            case "rate": rate = try reader.readDouble(in: 0...1)
            case "toRate": toRate = try reader.readDouble(in: 0...1)
            default: throw reader.unknownField(key)
            }
        }
        let start = try reader.require(rate, "rate")
        self.init(
            length: try reader.require(length, "forS"), rate: start, toRate: toRate ?? start)
    }
}

extension Intensity.Bursts {
    init(from reader: inout JSONReader) throws(JSONError) {
        var meanBad: Duration?
        self.init(meanBad: .zero)
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "badShare": badShare = try reader.readDouble(in: 0.0001...0.9999)
            case "meanBadS": meanBad = try reader.readSeconds(in: 0.1...86_400)
            case "goodRate": goodRate = try reader.readDouble(in: 0...1)
            case "badRate": badRate = try reader.readDouble(in: 0...1)
            default: throw reader.unknownField(key)
            }
        }
        self.meanBad = try reader.require(meanBad, "meanBadS")
    }
}
