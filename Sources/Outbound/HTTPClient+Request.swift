extension HTTPClient {
    /// One call: sent at most once, unless it is safe to repeat.
    package struct Request: Sendable {
        package var method: String
        package var url: UpstreamURL
        /// In order. Not to be named: what frames the message (`Content-Length`,
        /// `Transfer-Encoding`, `Connection`, `Expect`, ...) and `Host`, which follow from the rest.
        package var fields: [Field]
        package var body: [UInt8]?
        /// From the call to the last octet of the answer; nil: `Settings.deadline`.
        package var deadline: Duration?
        /// Longest body of the answer in octets; nil: `Settings.bodyBytes`.
        package var maxBodyBytes: Int?
        /// May be sent again by itself on another connection, when a kept one died before it gave an
        /// answer. True for the safe methods (RFC 9110 section 9.2.1); never for a creation.
        package var isRepeatable: Bool
        /// Not on a connection that was kept.
        package var needsFreshConnection = false

        package init(
            _ method: String, _ url: UpstreamURL, fields: [Field] = [], body: [UInt8]? = nil,
            deadline: Duration? = nil
        ) {
            self.method = method
            self.url = url
            self.fields = fields
            self.body = body
            self.deadline = deadline
            isRepeatable = ["GET", "HEAD", "OPTIONS"].contains(method)
        }

        /// What is wrong with it; nil if it may be sent.
        var fault: String? {
            if method.utf8.count > 32 || !isToken(method) {
                return "the method is no token"
            }
            if ["CONNECT", "TRACE"].contains(method) || (method == "HEAD" && body != nil) {
                return "\(method) is not sent\(body == nil ? "" : " with a body")"
            }
            for field in fields {
                if let fault = field.fault { return fault }
                if Self.ours.contains(field.name.lowercased()) {
                    return "the field \(field.name) is not the caller's to set"
                }
            }
            return nil
        }

        private static let ours: Set<String> = [
            "connection", "content-length", "expect", "host", "keep-alive", "proxy-connection",
            "te", "trailer", "transfer-encoding", "upgrade",
        ]
    }

    /// One field line, of a request or an answer.
    package struct Field: Hashable, Sendable {
        package var name: String
        package var value: String

        package init(_ name: String, _ value: String) {
            self.name = name
            self.value = value
        }

        /// RFC 9110 sections 5.1 and 5.5: a token; no control character but the tab. What a value
        /// may do is end the line and begin another one of its own: that is refused, not mended.
        var fault: String? {
            if name.utf8.count > 256 || !isToken(name) {
                return "a field's name is no token"
            }
            if value.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7f }) {
                return "the field \(name) has a control character in its value"
            }
            if value.utf8.count > 16_384 { return "the field \(name) is over 16 KiB" }
            return nil
        }

        /// As libcurl takes it: `Name;` is an empty value, while `Name:` would take the field away.
        var line: String { value.isEmpty ? "\(name);" : "\(name): \(value)" }
    }

    /// The head of a final answer (not 1xx).
    package struct Head: Sendable {
        package let status: Int
        /// In the order of arrival, repeated ones apart.
        package let fields: [Field]

        /// The first value under that name, in any case.
        package func value(_ name: String) -> String? {
            let name = name.lowercased()
            return fields.first { $0.name.lowercased() == name }?.value
        }
    }

    /// A whole answer. Any status is one; redirects are not followed.
    package struct Response: Sendable {
        package let head: Head
        package let body: [UInt8]

        package var status: Int { head.status }
    }
}

/// RFC 9110 section 5.6.2.
func isToken(_ text: some StringProtocol) -> Bool {
    !text.isEmpty && text.utf8.allSatisfy { tokenOctets.contains($0) }
}

private let tokenOctets = Set(
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz".utf8)
