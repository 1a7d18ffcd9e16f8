internal import ControlPlane
internal import HTTP
internal import JSON
internal import Postgres

extension Call {
    /// The body as JSON.
    ///
    /// Throws 415 for another media type, 400 for what is not JSON or not of the shape asked for.
    func body<Value: JSONReadable>(_ type: Value.Type) throws(Failure) -> Value {
        guard request.hasContentType("application/json") else {
            throw .problem(
                Problem(.unsupportedMediaType, detail: "send Content-Type: application/json"))
        }
        do throws(JSONError) {
            return try JSONReader.decode(type, from: request.body)
        } catch {
            throw .problem(Problem(error))
        }
    }

    /// The body as JSON, or the value of an empty object if there is none.
    func bodyIfPresent<Value: JSONReadable>(_ type: Value.Type) throws(Failure) -> Value {
        if !request.body.isEmpty { return try body(type) }
        do throws(JSONError) {
            return try JSONReader.decode(type, from: Array("{}".utf8))
        } catch {
            throw .problem(Problem(error))
        }
    }

    /// The items of the query by name. Throws 400 for one that is not in `names` or is repeated.
    func query(_ names: String...) throws(Failure) -> [String: String] {
        var values: [String: String] = [:]
        for item in request.queryItems {
            guard names.contains(item.name) else {
                let known =
                    names.isEmpty ? "there is none" : "known: \(names.joined(separator: ", "))"
                throw .problem(.invalid(item.name, "is no parameter of this call; \(known)"))
            }
            guard values.updateValue(item.value, forKey: item.name) == nil else {
                throw .problem(.invalid(item.name, "is given twice"))
            }
        }
        return values
    }

    /// The tenant that the path names, if the caller may act on it: an operator on all, an
    /// administrator on its own. Any other is not found.
    func tenant() throws(Failure) -> Tenant.ID {
        guard let text = request.parameter("tenantId"), let id = Tenant.ID(text),
            caller.isOperator || caller.tenant == id
        else { throw .domain(.notFound("tenant")) }
        return id
    }

    /// `Idempotency-Key`, as a structured string or bare, 1 to 255 octets.
    func idempotency() throws(Failure) -> Idempotency? {
        guard let text = request.header(.idempotencyKey) else { return nil }
        guard let key = StructuredValue.idempotencyKey(in: text) else {
            throw .problem(
                .invalid("Idempotency-Key", "must be 1 to 255 printable ASCII characters"))
        }
        return Idempotency(
            key: key, route: "\(request.method) \(request.path)",
            body: request.body)
    }

    /// `If-Match` with an ETag of ours or `*`, or `If-None-Match: *`.
    func precondition() throws(Failure) -> Precondition {
        if let text = request.header(.ifNoneMatch) {
            guard text == "*", request.header(.ifMatch) == nil else {
                throw .problem(.invalid("If-None-Match", "must be * and stand alone"))
            }
            return .isNew
        }
        guard let text = request.header(.ifMatch) else { return .none }
        if text == "*" { return .exists }
        guard text.utf8.count >= 3, text.hasPrefix("\""), text.hasSuffix("\""),
            let version = wholeNumber(String(text.dropFirst().dropLast()), in: 0...Int.max)
        else { throw .domain(.outdated) }
        return .version(Int64(version))
    }
}

/// A whole number of the query in decimal digits alone: `Int` would take a sign as well.
func wholeNumber(_ text: String, in range: ClosedRange<Int>) -> Int? {
    guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }), let number = Int(text),
        range.contains(number)
    else { return nil }
    return number
}

/// A time of the query; nil: it has none.
func queryTime(_ name: String, _ query: [String: String]) throws(Failure) -> Timestamp? {
    guard let text = query[name] else { return nil }
    // Of times that the database can hold, with room for a step.
    let earliest = Timestamp(microseconds: 0)
    let latest = Timestamp(microseconds: 4_102_444_800_000_000)  // the year 2100
    guard let time = Timestamp(text), time >= earliest, time < latest else {
        throw .problem(.invalid(name, "must be a time like 2030-01-31T12:00:00Z (RFC 3339)"))
    }
    return time
}

/// Where a list goes on: opaque to clients, bound to its list, checked when it comes back.
struct Cursor {
    /// The page's size and the last item of the page before, as the query says.
    static func page(
        _ query: [String: String], of list: String, _ settings: APISettings
    ) throws(Failure) -> (limit: Int, after: String?) {
        var limit = settings.pageSize
        if let text = query["limit"] {
            guard let number = wholeNumber(text, in: 1...settings.maxPageSize) else {
                throw .problem(
                    .invalid("limit", "must be a whole number from 1 to \(settings.maxPageSize)"))
            }
            limit = number
        }
        guard let text = query["cursor"] else { return (limit, nil) }
        guard let decoded = decode(text), decoded.hasPrefix(list + ":") else {
            throw .problem(.invalid("cursor", "is not a cursor of this list; start without one"))
        }
        return (limit, String(decoded.dropFirst(list.utf8.count + 1)))
    }

    static func encode(_ list: String, _ last: String) -> String {
        let digits = Array("0123456789abcdef".utf8)
        let bytes = "\(list):\(last)".utf8.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
        return String(decoding: bytes, as: UTF8.self)
    }

    private static func decode(_ text: String) -> String? {
        guard text.utf8.count % 2 == 0, text.utf8.count <= 512 else { return nil }
        var bytes: [UInt8] = []
        var rest = Substring(text)
        while !rest.isEmpty {
            let pair = rest.prefix(2)
            guard pair.utf8.count == 2, !pair.hasPrefix("+"), !pair.hasPrefix("-"),
                let byte = UInt8(pair, radix: 16)
            else { return nil }
            bytes.append(byte)
            rest = rest.dropFirst(2)
        }
        return String(validating: bytes, as: UTF8.self)
    }
}
