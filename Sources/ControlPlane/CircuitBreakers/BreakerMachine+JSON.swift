package import JSON
internal import Postgres

/// The form in which a row holds what its columns do not: counters, times in microseconds, probes.
extension BreakerMachine: JSONReadable, JSONWritable {
    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.member("generation", generation)
            $0.member("state", state.rawValue)
            $0.member("override", ifPresent: override?.rawValue)
            $0.member("overrideUntil", ifPresent: overrideUntil?.microseconds)
            $0.member("run", run)
            $0.member("runStartedAt", ifPresent: runStartedAt?.microseconds)
            $0.array("failing") { writer in for id in failing { writer.value(id.description) } }
            $0.member("window", window)
            $0.member("openings", openings)
            $0.member("openedAt", ifPresent: openedAt?.microseconds)
            $0.member("openUntil", ifPresent: openUntil?.microseconds)
            $0.member("unclosedSince", ifPresent: unclosedSince?.microseconds)
            $0.member("closedAt", ifPresent: closedAt?.microseconds)
            $0.member("failuresInRamp", failuresInRamp)
            $0.member("leases", leases)
            $0.member("succeededProbes", succeededProbes)
            $0.member("failedProbes", failedProbes)
            $0.member("lostProbes", lostProbes)
            $0.member("seenAt", seenAt.microseconds)
        }
    }

    package init(from reader: inout JSONReader) throws(JSONError) {
        var machine = BreakerMachine()
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "generation": machine.generation = Int64(try reader.readCount())
            case "state": machine.state = try reader.readCase()
            case "override": machine.override = try reader.readCase() as Override
            case "overrideUntil": machine.overrideUntil = try reader.readMicroseconds()
            case "run": machine.run = try reader.readCount()
            case "runStartedAt": machine.runStartedAt = try reader.readMicroseconds()
            case "failing":
                try reader.readArray(maxCount: 100) { _, reader throws(JSONError) in
                    guard let id = Tenant.ID(try reader.readString(maxBytes: 36)) else {
                        throw reader.failure(.range, "must be a tenant's id")
                    }
                    machine.failing.append(id)
                }
            case "window": machine.window = try BreakerWindow(from: &reader)
            case "openings": machine.openings = try reader.readCount()
            case "openedAt": machine.openedAt = try reader.readMicroseconds()
            case "openUntil": machine.openUntil = try reader.readMicroseconds()
            case "unclosedSince": machine.unclosedSince = try reader.readMicroseconds()
            case "closedAt": machine.closedAt = try reader.readMicroseconds()
            case "failuresInRamp": machine.failuresInRamp = try reader.readCount()
            case "leases":
                try reader.readArray(maxCount: 100) { _, reader throws(JSONError) in
                    machine.leases.append(try Lease(from: &reader))
                }
            case "succeededProbes": machine.succeededProbes = try reader.readCount()
            case "failedProbes": machine.failedProbes = try reader.readCount()
            case "lostProbes": machine.lostProbes = try reader.readCount()
            case "seenAt": machine.seenAt = try reader.readMicroseconds()
            // Written by a newer instance beside this one.
            default: try reader.skip()
            }
        }
        self = machine
    }
}

extension BreakerMachine.Lease: JSONReadable, JSONWritable {
    package func write(to writer: inout JSONWriter) {
        writer.object {
            $0.member("token", token.description)
            $0.member("holder", holder)
            $0.member("expiresAt", expiresAt.microseconds)
        }
    }

    package init(from reader: inout JSONReader) throws(JSONError) {
        var (token, holder, expiresAt) = (UUID?.none, "", Timestamp.distantPast)
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "token": token = UUID(try reader.readString(maxBytes: 36))
            case "holder": holder = try reader.readString(maxBytes: 200)
            case "expiresAt": expiresAt = try reader.readMicroseconds()
            default: try reader.skip()
            }
        }
        self.init(
            token: try reader.require(token, "token"), holder: holder, expiresAt: expiresAt)
    }
}

/// `[[bucket, calls, failed, slow], ...]`
extension BreakerWindow: JSONReadable, JSONWritable {
    package func write(to writer: inout JSONWriter) {
        writer.array { writer in
            for entry in entries {
                writer.value([entry.bucket, Int64(entry.calls), Int64(entry.failed), Int64(entry.slow)])
            }
        }
    }

    package init(from reader: inout JSONReader) throws(JSONError) {
        var entries: [Entry] = []
        try reader.readArray(maxCount: 100_000) { _, reader throws(JSONError) in
            var numbers: [Int] = []
            try reader.readArray(maxCount: 4) { _, reader throws(JSONError) in
                numbers.append(try reader.readInt(in: Int.min...Int.max))
            }
            guard numbers.count == 4 else { throw reader.failure(.count, "must be four numbers") }
            entries.append(
                Entry(
                    bucket: Int64(numbers[0]), calls: numbers[1], failed: numbers[2],
                    slow: numbers[3]))
        }
        self.init(entries)
    }
}

extension JSONReader {
    fileprivate mutating func readCount() throws(JSONError) -> Int {
        try readInt(in: 0...Int.max)
    }

    fileprivate mutating func readMicroseconds() throws(JSONError) -> Timestamp {
        Timestamp(microseconds: Int64(try readInt(in: Int.min...Int.max)))
    }

    fileprivate mutating func readCase<Value: RawRepresentable<String>>() throws(JSONError) -> Value {
        guard let value = Value(rawValue: try readString(maxBytes: 32)) else {
            throw failure(.range, "is no state that is known here")
        }
        return value
    }
}
