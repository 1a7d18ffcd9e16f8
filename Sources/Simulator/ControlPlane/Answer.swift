import HTTP
import JSON

/// A true answer of the control plane, before a fault may spoil it.
struct Answer: Sendable {
    var status: Int
    var body: [UInt8] = []
    var fields: [Field] = []
    var errorCode: String?
    /// The sandbox that it is about.
    var sandbox: Sandbox?

    init(_ status: Int, _ body: [UInt8] = [], fields: [Field] = [], sandbox: Sandbox? = nil) {
        self.status = status
        self.body = body
        self.fields = fields
        self.sandbox = sandbox
    }

    init(_ error: ProviderError) {
        self.init(error.status, error.json, fields: error.fields)
        errorCode = error.errorCode
    }

    var response: Response {
        Response(
            Status(status), contentType: body.isEmpty ? nil : .json, fields: fields,
            body: body.isEmpty ? .empty : .bytes(body))
    }
}
