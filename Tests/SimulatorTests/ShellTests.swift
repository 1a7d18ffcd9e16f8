import Simulator
import Testing

@Suite struct `The shell of a sandbox` {
    /// What a line prints, and how it ends.
    private func result(_ line: String) -> String {
        let shell = Shell(line, environment: ["NAME": "Ada"])
        return shell.steps.map { step in
            switch step {
            case .output(let text): text
            case .errors(let text): "!" + text
            case .wait(let length): "<\(length)>"
            }
        }.joined() + "(\(shell.status))"
    }

    @Test func `runs what health checks run`() {
        #expect(result("echo 'health_check'") == "health_check\n(0)")
        #expect(result("echo health_check") == "health_check\n(0)")
        #expect(result(#"echo "a  b"   c"#) == "a  b c\n(0)")
        #expect(result("echo -n x") == "x(0)")
        #expect(result("") == "(0)")
    }

    @Test func `joins commands as a shell does`() {
        #expect(result("true && echo yes || echo no") == "yes\n(0)")
        #expect(result("false && echo yes || echo no") == "no\n(0)")
        #expect(result("false; echo on") == "on\n(0)")
        #expect(result("echo a; exit 3; echo b") == "a\n(3)")
        #expect(result("echo out; echo err >&2; false") == "out\n!err\n(1)")
        #expect(result("sleep 0.5 && echo x") == "<0.5 seconds>x\n(0)")
        #expect(result("false || false && echo x") == "(1)")
    }

    @Test func `knows variables, quotes and what it does not have`() {
        #expect(result(#"echo $NAME "${NAME}!" '$NAME' \$NAME"#) == "Ada Ada! $NAME $NAME\n(0)")
        #expect(result(#"printf "%s-%d\n" a 5"#) == "a-5\n(0)")
        #expect(result("npm i") == "!/bin/bash: line 1: npm: command not found\n(127)")
        #expect(result("echo 'open") == "open\n(0)")
    }

    @Test func `writes base64 as RFC 4648 does`() {
        let vectors = ["": "", "f": "Zg==", "fo": "Zm8=", "foo": "Zm9v", "foobar": "Zm9vYmFy"]
        for (plain, encoded) in vectors { #expect(base64(plain.utf8) == encoded) }
    }

    @Test func `takes one whole envelope and nothing else`() {
        #expect(Envelope.unwrap(Envelope.wrap([1, 2, 3])) == [1, 2, 3])
        #expect(Envelope.unwrap([0, 0, 0, 0]) == nil)
        #expect(Envelope.unwrap([1, 0, 0, 0, 0]) == nil)
        #expect(Envelope.unwrap([0, 0, 0, 0, 2, 9]) == nil)
        #expect(Envelope.unwrap([0, 0xff, 0xff, 0xff, 0xff, 9]) == nil)
    }
}
