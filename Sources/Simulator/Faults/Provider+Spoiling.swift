import HTTP
import IO
import JSON

extension Provider {
    /// Makes of a true answer what the fault wants, and writes the call down.
    func deliver(
        _ response: Response, _ injection: FaultEngine.Injection, _ call: CallRecord
    ) async -> Response {
        var (response, call) = (response, call)
        var wait = Duration.zero
        call.status = Int(response.status.code)
        switch injection.answer {
        case .answer(let injected, _)?:
            call.status = injected.error.status
            call.errorCode = injected.error.errorCode
            response = injected.response
        case .abandon(let byReset, _)?:
            call.status = nil
            call.ending = byReset ? "reset" : "close"
            response = Response(body: .abandoned(byReset: byReset))
        case .hang(let length, _)?:
            call.status = nil
            call.ending = "hang"
            wait = length
            response = Response(body: .abandoned(byReset: true))
        case .resetInBody?:
            call.ending = "resetInBody"
            response = response.cutByReset(on: loop)
        case .malformed?:
            call.ending = "malformed"
            response.body = .bytes(response.part)
        case .missingField(let name)?:
            call.ending = "missingField"
            response = response.without(name)
        case nil, .slow?, .zombie?, .vanish?, .lateInList?: break
        }
        note(call)
        if wait > .zero { try? await loop.sleep(for: wait) }
        return response
    }
}

extension Effect.Action {
    /// Whether what was asked is done although this happens to the answer.
    var isApplied: Bool {
        switch self {
        case .answer(_, let applied), .abandon(_, let applied), .hang(_, let applied): applied
        default: true
        }
    }
}

extension InjectedAnswer {
    fileprivate var response: Response {
        var fields = error.fields
        if let shouldRetry { fields.append(Field("Should-Retry", shouldRetry ? "true" : "false")) }
        let (type, body): (ContentType, [UInt8]) =
            switch format {
            case .json: (.json, error.json)
            case .text: (.text, Array(error.message.utf8))
            case .html:
                (
                    .html,
                    Array(
                        """
                        <html><head><title>\(error.status)</title></head>\
                        <body><h1>\(error.status)</h1><p>upstream error</p></body></html>
                        """.utf8)
                )
            }
        return Response(
            Status(error.status), contentType: type, fields: fields, body: .bytes(body))
    }
}

extension Response {
    /// The first part of its body, no longer sound JSON; of a body that is none or streamed, what could
    /// have been it.
    fileprivate var part: [UInt8] {
        guard case .bytes(let bytes) = body, bytes.count > 2 else {
            return Array("{\"event\":".utf8)
        }
        return Array(bytes.prefix(bytes.count * 2 / 3))
    }

    /// Its head and a part of its body; then, once the client has had time to read them, a reset.
    fileprivate func cutByReset(on loop: EventLoop) -> Response {
        let part = part
        var response = self
        if status == .noContent { response.status = .ok }
        response.body = .stream { writer in
            try await writer.write(part)
            try await loop.sleep(for: .milliseconds(50))
            throw StreamReset()
        }
        return response
    }

    /// Its JSON object without one member.
    fileprivate func without(_ name: String) -> Response {
        guard case .bytes(let bytes) = body,
            let document = try? JSONReader.decode(JSONValue.self, from: bytes),
            case .object(let members) = document
        else { return self }
        var response = self
        response.body = .bytes(JSONValue.object(members.filter { $0.name != name }).encoded())
        return response
    }
}
