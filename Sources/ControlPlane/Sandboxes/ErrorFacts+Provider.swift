internal import IO
internal import JSON
package import Outbound
internal import Postgres

extension ErrorFacts {
    /// Octets of an answer that is no JSON which are kept as its message.
    private static let maxText = 2_000

    /// An answer that is no success.
    package init(_ response: HTTPClient.Response) {
        self.init()
        status = response.status
        let now = Timestamp.now
        for field in response.head.fields { note(field: field.name, field.value, now: now) }
        if let document = JSONValue(bytes: response.body), document["message"] != nil {
            message = document["message"]?.string ?? ""
            errorCode = document["error_code"]?.string
        } else {
            message = String(decoding: response.body.prefix(Self.maxText), as: UTF8.self)
        }
        // It goes to callers, and may say with which key it was asked.
        message = redacted(message.isEmpty ? "the provider answered \(response.status)" : message)
    }

    /// No answer.
    package init(_ failure: HTTPClient.Failure) {
        self.init()
        phase =
            switch failure.phase {
            case .waiting, .resolve: .dns
            case .connect: .connect
            case .tls: .tls
            // A part of it is out. A server that acts on half a request is none that we know, and yet
            // nothing else proves that it did not.
            case .sending, .awaitingHead: .sent
            case .head: .head
            case .body: .body
            }
        exception =
            switch failure.kind {
            case .refused: "ECONNREFUSED"
            case .unreachable: "EHOSTUNREACH"
            case .reset, .protocol: "ECONNRESET"
            case .timedOut, .cancelled: "ETIMEDOUT"
            case .name: "ENOTFOUND"
            case .wrongHost, .expired, .untrusted, .tls: "CERT_UNTRUSTED"
            case .addressRefused, .invalid, .overloaded, .outOfMemory, .tooLarge: nil
            }
        message = failure.detail
    }

    /// An answer of success that is not of the form that it must have.
    static func unreadable(_ status: Int) -> ErrorFacts {
        var facts = ErrorFacts()
        facts.status = status
        facts.phase = .body
        facts.exception = "unreadable answer"
        facts.message = "the answer, of status \(status), is not of the form that the API promises"
        return facts
    }

    /// Never sent.
    static func refusedHere(_ why: String) -> ErrorFacts {
        var facts = ErrorFacts()
        facts.status = 400
        facts.message = why
        return facts
    }
}
