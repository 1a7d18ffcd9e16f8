import IO
package import JSON

extension Script: JSONReadable {
    /// Reads a whole script. Unknown members, and values that could never do anything, are refused
    /// by an error that points to the member.
    package init(from reader: inout JSONReader) throws(JSONError) {
        var (seed, book) = (1, BookLimits())
        var regions: [RegionScript]?
        var faults: [Fault] = []
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "seed": seed = try reader.readInt(in: 0...Int.max)
            case "book": book = try BookLimits(from: &reader)
            case "regions": regions = try Self.readRegions(&reader)
            case "faults":
                // The regions may stand behind, so their names are checked at the end.
                try reader.readArray(maxCount: 256) { _, reader throws(JSONError) in
                    faults.append(try Fault(from: &reader))
                }
            default: throw reader.unknownField(key)
            }
        }
        self.init(regions: try reader.require(regions, "regions"))
        self.seed = UInt64(seed)
        self.book = book
        self.faults = faults
        try checkNames(reader)
    }

    private static func readRegions(
        _ reader: inout JSONReader
    ) throws(JSONError) -> [RegionScript] {
        var regions: [RegionScript] = []
        try reader.readArray(maxCount: 64) { _, reader throws(JSONError) in
            let region = try RegionScript(from: &reader)
            guard !regions.contains(where: { $0.name == region.name }) else {
                throw reader.failure(.range, "another region has this name")
            }
            regions.append(region)
        }
        guard !regions.isEmpty else { throw reader.failure(.count, "expected a region") }
        return regions
    }

    /// A fault that names what no region has would never happen.
    private func checkNames(_ reader: JSONReader) throws(JSONError) {
        for (index, fault) in faults.enumerated() {
            for name in fault.regions ?? [] where !regions.contains(where: { $0.name == name }) {
                throw JSONError(
                    .range, at: "/faults/\(index)/regions", offset: 0, "no region \(name)")
            }
            for id in fault.keys ?? []
            where !regions.contains(where: { $0.keys.contains { $0.id == id } }) {
                throw JSONError(
                    .range, at: "/faults/\(index)/keys", offset: 0, "no region has a key \(id)")
            }
        }
    }
}

extension Script.BookLimits {
    init(from reader: inout JSONReader) throws(JSONError) {
        self.init()
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "calls": calls = try reader.readInt(in: 1...1_000_000)
            case "sandboxes": sandboxes = try reader.readInt(in: 1...1_000_000)
            default: throw reader.unknownField(key)
            }
        }
    }
}

extension RegionScript {
    init(from reader: inout JSONReader) throws(JSONError) {
        var name: String?
        self.init(name: "")
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "name": name = try reader.readName()
            case "listen": listen = try reader.readAddresses()
            case "domain":
                domain = try reader.readNull() ? nil : reader.readText(maxBytes: 253)
            case "keys": keys = try reader.readKeys()
            case "templates": templates = try reader.readNames()
            case "limits": limits = try Limits(from: &reader)
            case "latency": latency = try Latency(from: &reader)
            default: throw reader.unknownField(key)
            }
        }
        self.name = try reader.require(name, "name")
        guard !keys.isEmpty else { throw reader.missingField("keys") }
    }
}

extension RegionScript.Limits {
    init(from reader: inout JSONReader) throws(JSONError) {
        self.init()
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "concurrent": concurrent = try reader.readInt(in: 0...10_000)
            case "createsPerS":
                createsPerSecond =
                    try reader.readNull() ? nil : reader.readDouble(in: 0.01...10_000)
            case "createBurst": createBurst = try reader.readDouble(in: 1...100_000)
            case "maxTimeoutS": maxTimeout = try reader.readSeconds(in: 1...2_592_000)
            default: throw reader.unknownField(key)
            }
        }
    }
}

extension RegionScript.Latency {
    init(from reader: inout JSONReader) throws(JSONError) {
        self.init()
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "createMs": create = try reader.readMilliseconds()
            case "otherMs": other = try reader.readMilliseconds()
            case "commandMs": command = try reader.readMilliseconds()
            case "sigma": sigma = try reader.readDouble(in: 0...3)
            default: throw reader.unknownField(key)
            }
        }
    }
}

extension JSONReader {
    fileprivate mutating func readAddresses() throws(JSONError) -> [String] {
        var addresses: [String] = []
        try readArray(maxCount: 16) { _, reader throws(JSONError) in
            let text = try reader.readText(maxBytes: 200)
            guard case .tcp? = Address(text) else {
                throw reader.failure(.range, "expected host:port with an IP address")
            }
            addresses.append(text)
        }
        return addresses
    }

    /// `{"id": "secret"}`.
    fileprivate mutating func readKeys() throws(JSONError) -> [RegionScript.Key] {
        var keys: [RegionScript.Key] = []
        try readObject { key, reader throws(JSONError) in
            let secret = try reader.readText(maxBytes: 200)
            guard secret.utf8.allSatisfy({ (0x21...0x7e).contains($0) }) else {
                throw reader.failure(.range, "expected visible ASCII characters, e.g. e2b_0123abcd")
            }
            guard !keys.contains(where: { $0.secret == secret }) else {
                throw reader.failure(.range, "another key of this region has this secret")
            }
            keys.append(RegionScript.Key(id: key.string, secret: secret))
        }
        return keys
    }
}
