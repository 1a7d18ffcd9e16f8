import HTTP
import TestSupport
import Testing

@Suite(.proves("H2", "H3")) struct `A request` {
    private func parsed(_ line: String, _ fields: String = "") throws -> Request {
        try #require(try request("\(line) HTTP/1.1\r\nHost: a\r\n\(fields)\r\n"))
    }

    @Test func `gives fields by name in any case, repeated ones apart`() throws {
        let request = try parsed(
            "GET /",
            "X-One:  1 \r\nx-two: 2\r\nX-ONE: 3\r\nAuthorization: Bearer k\r\nEmpty:\r\n")
        #expect(request.header("x-one") == "1")
        #expect(request.values("X-One") == ["1", "3"])
        #expect(request.header(.authorization) == "Bearer k")
        #expect(request.header("empty")?.isEmpty == true)
        #expect(request.header("x-on") == nil)
        let names = ["Host", "X-One", "x-two", "X-ONE", "Authorization", "Empty"]
        #expect(request.fields.map(\.name) == names)
    }

    @Test func `decodes its query`() throws {
        let request = try parsed("GET /p?a=1&b=%26%3D+x&a=2&&c&=d&e=f=g")
        #expect(request.path == "/p")
        #expect(request.query("a") == "1")
        #expect(request.query("b") == "&= x")
        #expect(request.query("c")?.isEmpty == true)
        #expect(request.query("e") == "f=g")
        #expect(request.query("x") == nil)
        #expect(request.queryItems.map(\.name) == ["a", "b", "a", "c", "", "e"])
    }

    @Test(arguments: [
        ("application/json", true), ("Application/JSON; charset=utf-8", true),
        ("application/json ;x", true), ("application/jsonp", false), ("text/plain", false),
        ("", false),
    ])
    func `knows its content type`(value: String, isJSON: Bool) throws {
        let request = try parsed("GET /", "Content-Type: \(value)\r\n")
        #expect(request.hasContentType("application/json") == isJSON)
    }

    @Test func `belongs to the trace that it names, else to a new one`() throws {
        func trace(_ fields: String) throws -> TraceContext {
            let request = try parsed("GET /", fields)
            #expect(request.trace == request.trace)
            return request.trace
        }
        let id = "0af7651916cd43dd8448eb211c80319c"
        let whole = "00-\(id)-b7ad6b7169203331-01"
        let known = try trace(
            "traceparent: \(whole)\r\ntracestate: a=b\r\ntracestate: c\r\n")
        #expect(known.traceID == id)
        #expect(known.parent == 0xb7ad_6b71_6920_3331)
        #expect(known.isSampled)
        #expect(known.state == "a=b,c")
        #expect(known.traceparent(span: 1) == "00-\(id)-0000000000000001-01")
        let newer = try trace("traceparent: 01-\(id)-b7ad6b7169203331-00-more\r\n")
        #expect(newer.traceID == id && !newer.isSampled)
        let zeros = String(repeating: "0", count: 32)
        for bad in [
            "", "00", "00-\(id)-b7ad6b7169203331", "ff-\(id)-b7ad6b7169203331-01", whole + "-x",
            "00-\(id.uppercased())-b7ad6b7169203331-01", "00-\(zeros)-b7ad6b7169203331-01",
            "00-\(id)-0000000000000000-01", "00-\(id)-b7ad6b7169203331-0x",
            "01-\(id)-b7ad6b7169203331-01x",
        ] {
            let fresh = try trace("traceparent: \(bad)\r\n")
            #expect(fresh.traceID != id && fresh.traceID != zeros && fresh.parent == 0, "\(bad)")
        }
        #expect(try trace("traceparent: \(whole)\r\nTraceparent: x\r\n").parent == 0)
    }

    @Test(arguments: [",", ",\u{301}"])
    func `passes on a trace's state of at most 32 members`(separator: String) throws {
        func state(_ members: Int) throws -> String? {
            let text = repeatElement("a=b", count: members).joined(separator: separator)
            let parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
            return try parsed("GET /", "traceparent: \(parent)\r\ntracestate: \(text)\r\n").trace
                .state
        }
        #expect(try state(32)?.utf8.count { $0 == UInt8(ascii: ",") } == 31)
        #expect(try state(33) == nil)
    }
}

@Suite(.proves("H2")) struct `A problem` {
    private func answer(_ problem: Problem) throws -> Response {
        Response(problem, requestID: try #require(RequestID("id-1")))
    }

    @Test func `is written as RFC 9457 has it`() throws {
        let problem = Problem(
            .quotaExceeded, detail: "100 of \"100\"", retryAfter: .microseconds(1_500_001),
            errors: [.init("/limits/0", "too\nmany")],
            members: [
                ("limit", .integer(100)), ("shadow", .boolean(false)),
                ("policies", .strings(["a", "b"])),
            ])
        guard case .bytes(let bytes) = try answer(problem).body else {
            Issue.record("no body")
            return
        }
        #expect(
            String(decoding: bytes, as: UTF8.self)
                == #"{"type":"urn:breakwater:problem:quota-exceeded","title":"Quota exceeded","#
                + #""status":429,"detail":"100 of \"100\"","instance":"urn:breakwater:request:id-1","#
                + #""retryAfterMs":1501,"errors":[{"pointer":"/limits/0","detail":"too\nmany"}],"#
                + #""limit":100,"shadow":false,"policies":["a","b"]}"#)
    }

    @Test(arguments: [(0, "1"), (1, "1"), (1000, "1"), (1001, "2"), (59_000, "59"), (-5, "1")])
    func `says when to come back in whole seconds, not too early`(
        milliseconds: Int, text: String
    ) throws {
        let response = try answer(Problem(.overloaded, retryAfter: .milliseconds(milliseconds)))
        #expect(response.fields.first { $0.name == .retryAfter }?.value == text)
    }

    @Test func `has one published type each`() {
        let names = ProblemType.all.map(\.name)
        #expect(Set(names).count == names.count)
        #expect(names.allSatisfy { $0.allSatisfy { $0.isLowercase || $0 == "-" } })
        #expect(ProblemType.all.allSatisfy { (400..<600).contains($0.status.code) })
    }
}
