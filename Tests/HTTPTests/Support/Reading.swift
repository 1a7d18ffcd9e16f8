import HTTP

/// What a run of bytes came to: the requests in it and how it ended.
struct Reading: Hashable, CustomStringConvertible {
    /// One request as far as framing and routing go.
    struct Message: Hashable {
        var method: String
        var target: String
        var minorVersion: Int
        var fields: [String]
        var body: [UInt8]
    }

    enum End: Hashable {
        case complete
        case incomplete
        case refused(Int)
    }

    var messages: [Message] = []
    var end = End.complete

    var description: String {
        let texts = messages.map {
            "\($0.method) \($0.target) 1.\($0.minorVersion) \($0.fields) "
                + String(decoding: $0.body, as: UTF8.self).debugDescription
        }
        return "\(texts) then \(end)"
    }

    /// Reads `pieces` one after the other with the parser of the service.
    static func fast(_ pieces: [ArraySlice<UInt8>], limits: HTTPLimits = HTTPLimits()) -> Reading {
        var reading = Reading()
        var reader = MessageReader(limits: limits, random: RandomSource(seed: 1))
        do throws(Refusal) {
            for piece in pieces {
                try reader.feed(Array(piece)) { reading.messages.append(Message($0)) }
            }
            reading.end = reader.isBetweenRequests ? .complete : .incomplete
        } catch {
            reading.end = .refused(Int(error.type.status.code))
        }
        return reading
    }

    static func fast(_ bytes: [UInt8], limits: HTTPLimits = HTTPLimits()) -> Reading {
        fast([bytes[...]], limits: limits)
    }

    static func fast(_ text: String, limits: HTTPLimits = HTTPLimits()) -> Reading {
        fast(Array(text.utf8), limits: limits)
    }

    /// Bytes above ASCII as themselves, for cases that are not UTF-8.
    static func latin1(_ text: String) -> [UInt8] {
        text.unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) }
    }
}

extension Reading.Message {
    init(_ request: Request) {
        self.init(
            method: request.method.description, target: request.target,
            minorVersion: request.minorVersion,
            fields: request.fields.map { "\($0.name): \($0.value)" }, body: request.body)
    }
}
