import ControlPlane
import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct `The table of kinds` {
    /// Each row of `docs/errors.md` as the code would write it.
    private static func row(_ kind: ErrorKind) -> [String] {
        let traits = kind.traits
        let word = { (flag: Bool) in flag ? "yes" : "no" }
        return [
            "`\(kind.rawValue)`", word(traits.flags.isAPI), word(traits.flags.isTransient),
            word(traits.flags.isPermanent), traits.schedule.rawValue, word(traits.countsForBreaker),
            word(traits.failsOver),
        ]
    }

    @Test(.proves("A1")) func `is published as it is`() throws {
        let page = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().appending(path: "docs/errors.md")
        let rows = try String(contentsOf: page, encoding: .utf8).split(separator: "\n")
            .filter { $0.hasPrefix("| `") }
            .map { line in
                line.split(separator: "|").map { $0.trimmingCharacters(in: .whitespaces) }
            }
        let published = rows.map { [$0[0]] + $0.dropFirst(2) }
        #expect(published == ErrorKind.allCases.map(Self.row))
    }

    @Test(
        .proves("A1"),
        arguments: [
            (429, "rate_limit", [true, false, false]), (500, "internal", [true, false, false]),
            (503, "unavailable", [true, true, false]), (502, "network", [false, true, false]),
            (504, "timeout", [false, true, false]), (401, "auth", [false, false, true]),
            (403, "auth", [false, false, true]), (404, "not_found", [false, false, true]),
        ])
    func `gives a status the original's flags`(status: Int, kind: String, flags: [Bool]) {
        let found = classification(status: status)
        #expect(found.kind.rawValue == kind)
        #expect([found.flags.isAPI, found.flags.isTransient, found.flags.isPermanent] == flags)
    }

    @Test(
        .proves("A1", "F8"),
        arguments: [
            ("Rate limit exceeded", [true, false, false]), ("Quota exceeded", [true, false, true]),
            ("ETIMEDOUT", [false, true, false]), ("ECONNRESET", [false, true, false]),
            ("connection refused", [false, true, false]),
            ("Request timed out", [false, true, false]),
        ])
    func `gives a text the original's flags`(text: String, flags: [Bool]) {
        let found = classification(message: text)
        #expect([found.flags.isAPI, found.flags.isTransient, found.flags.isPermanent] == flags)
    }
}

@Suite struct `An error's effects` {
    private func classify(_ change: (inout ErrorFacts) -> Void) -> Classification {
        var facts = ErrorFacts()
        change(&facts)
        return Classifier().classify(facts)
    }

    @Test(.proves("B2"))
    func `may have been applied if the call left and no answer says otherwise`() {
        for phase in ErrorFacts.Phase.allCases {
            let hasLeft = [.sent, .head, .body].contains(phase)
            #expect(classify { $0.phase = phase }.mayHaveBeenApplied == hasLeft)
        }
        for (status, isOpen) in [
            (504, true), (502, true), (500, false), (503, false), (429, false),
        ] {
            #expect(classify { $0.status = status }.mayHaveBeenApplied == isOpen, "\(status)")
        }
        #expect(
            classify {
                $0.status = 201; $0.phase = .body
            }.mayHaveBeenApplied)
        #expect(classify { $0.exception = "httpx.ReadTimeout" }.mayHaveBeenApplied)
        #expect(!classify { $0.exception = "httpx.ConnectTimeout" }.mayHaveBeenApplied)
        #expect(!classify { $0.message = "connect ECONNREFUSED 127.0.0.1:7999" }.mayHaveBeenApplied)
        for message in [
            "[SSL: UNEXPECTED_EOF_WHILE_READING] EOF occurred in violation of protocol (_ssl.c:1006)",
            "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
            "read tcp 10.0.0.1:41450->10.0.0.2:443: read: no route to host", "unexpected EOF",
        ] {
            #expect(classify { $0.message = message }.mayHaveBeenApplied, "\(message)")
        }
        #expect(classify { $0.message = "socket hang up" }.mayHaveBeenApplied)
        #expect(classify { $0.errorCode = "idempotency_outcome_unknown" }.mayHaveBeenApplied)
    }

    @Test func `may be mended by the default template if this one is the reason`() {
        for (status, message, may) in [
            (404, "template 'zapdev' not found", true),
            (404, "tag 'v2' does not exist for template 'zapdev'", true),
            (403, "you don't have access to template 'zapdev'", true),
            (403, "team is banned", false), (404, "Sandbox \"x\" doesn't exist", false),
            (
                503, "Failed to place sandbox: no compatible node for this template's requirements",
                true
            ),
            (500, "template 'zapdev' failed", false),
        ] {
            let found = classify {
                $0.status = status; $0.message = message
            }
            #expect(found.mayUseDefaultTemplate == may, "\(message)")
        }
        let onData = classify {
            $0.plane = .data; $0.status = 404; $0.message = "template not found"
        }
        #expect(!onData.mayUseDefaultTemplate)
    }
}

@Suite struct `Fields about waiting` {
    private let now = Timestamp(microseconds: 784_111_777_000_000)  // 1994-11-06T08:49:37Z

    private func wait(_ fields: [(String, String)], status: Int = 429) -> Duration? {
        var facts = ErrorFacts()
        facts.status = status
        for (name, value) in fields { facts.note(field: name, value, now: now) }
        return Classifier().classify(facts).retryAfter
    }

    @Test(.proves("B1")) func `are read as seconds or as a date`() {
        #expect(wait([("Retry-After", "120")]) == .seconds(120))
        #expect(wait([("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]) == .seconds(30))
        #expect(
            wait([("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "784111800")])
                == .seconds(23))
        #expect(wait([("RateLimit-Remaining", "0"), ("RateLimit-Reset", "9")]) == .seconds(9))
        #expect(wait([("RateLimit", "limit=10, remaining=0, reset=8")]) == .seconds(8))
        #expect(wait([("RateLimit", #""default";r=0;t=7"#)]) == .seconds(7))
    }

    @Test func `say nothing when they are unreadable, past, or there is room left`() {
        for value in [
            "", "-1", "soon", "1e3", "Sun, 06 Nov 1994 08:49:07 GMT", "99999999999999999",
        ] {
            #expect(wait([("Retry-After", value)]) == nil, "\(value)")
        }
        #expect(wait([("RateLimit", #""default";r=5;t=7"#)]) == nil)
        #expect(wait([("Retry-After", "30")], status: 401) == nil)
    }
}

@Suite struct `Long messages` {
    @Test func `are read at both ends, in time that grows with what is read`() {
        let noise = String(repeating: "sbx-429abc port 5000 \"x\": (", count: 20_000)
        #expect(classification(message: "Rate limit exceeded " + noise).kind == .rateLimit)
        #expect(classification(message: noise + " Rate limit exceeded").kind == .rateLimit)
        #expect(classification(message: noise).kind == .unknown)
        let clock = ContinuousClock()
        let took = clock.measure { _ = classification(message: noise) }
        #expect(took < .milliseconds(200), "\(took)")
    }

    @Test func `of any bytes are read without harm`() {
        for text in [
            "\u{0}", "é: 429: é", "::::", "'''", "429:", ": 429: ", "\u{1F4A5}", "[[[]]]: ",
        ] {
            _ = classification(message: text)
        }
    }
}
