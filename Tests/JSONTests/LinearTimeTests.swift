import Glibc
import JSON
import TestSupport
import Testing

/// Eight times the document may take about eight times as long; what is quadratic takes 64 times.
@Suite(.proves("H2"), .serialized) struct `Time to read a document` {
    private let limits = JSONLimits(
        maxBytes: 1 << 26, maxStringBytes: 1 << 26, maxNumberBytes: 1 << 26, maxMembers: 1 << 24,
        maxElements: 1 << 24)

    @Test(arguments: [
        "members", "escaped members", "alike members", "elements", "a string", "escapes",
        "white space", "open brackets", "a number",
    ])
    func `grows with its length only`(_ shape: String) {
        let small = time(document(shape, 2_000))
        let large = time(document(shape, 16_000))
        #expect(large < small * 32, "\(shape): \(small) then \(large)")
    }

    @Test func `grows with its length only where the last value is refused`() {
        let small = time(document("members", 2_000).dropLast() + [UInt8](ascii: ",\"x\":?}"))
        let large = time(document("members", 16_000).dropLast() + [UInt8](ascii: ",\"x\":?}"))
        #expect(large < small * 32, "\(small) then \(large)")
    }

    private func document(_ shape: String, _ count: Int) -> [UInt8] {
        let numbers = (0..<count).lazy
        let text =
            switch shape {
            case "members": "{" + numbers.map { "\"\($0)\":0" }.joined(separator: ",") + "}"
            case "escaped members":
                "{" + numbers.map { "\"\\u0041\($0)\":0" }.joined(separator: ",") + "}"
            case "alike members":  // the same length, ends and most of the middle
                "{" + numbers.map { "\"aaaaaaaa\(100_000 + $0)aaaaaaaa\":0" }.joined(separator: ",")
                    + "}"
            case "elements": "[" + numbers.map(String.init).joined(separator: ",") + "]"
            case "a string": "\"" + String(repeating: "aé€", count: count) + "\""
            case "escapes": "\"" + String(repeating: "\\ud83d\\ude00\\n", count: count) + "\""
            case "white space": String(repeating: " \n\r\t", count: count) + "0"
            case "open brackets": String(repeating: "[{\"a\":", count: count)
            default: String(repeating: "7", count: count) + ".5e10"
            }
        return [UInt8](text.utf8)
    }

    /// The best of five in this thread's own CPU time, so that a busy machine does not count.
    private func time(_ bytes: [UInt8]) -> Duration {
        (0..<5).map { _ in
            let start = cpuTime()
            _ = refusal(bytes, limits: limits)
            return cpuTime() - start
        }.min() ?? .zero
    }

    private func cpuTime() -> Duration {
        var time = timespec()
        unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
        return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
    }
}
