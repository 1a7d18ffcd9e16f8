@testable import HTTP

/// libFuzzer's entry: reads `count` octets as what one client sends (`FuzzInput`) and stops the process
/// if a promise breaks.
@_cdecl("LLVMFuzzerTestOneInput")
package func fuzzHTTP(_ start: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    let input = unsafe FuzzInput(Array(UnsafeBufferPointer(start: start, count: count)))
    let reading = Reading.fast(input.bytes, limits: input.limits)
    demandSame(
        Reading.fast(input.pieces, limits: input.limits), reading, "in pieces it is read otherwise")
    demandSame(
        SlowParser.read(input.bytes, limits: input.slowLimits), reading, "two parsers disagree")
    staysWithinTighterLimits(input, reading)
    keepsItsMeaning(reading)
    let (buffered, requests) = readThroughBuffer(input)
    demandSame(buffered, reading, "through a connection's buffer it is read otherwise")
    for request in requests {
        checkFields(of: request)
        checkTarget(of: request)
        checkRoute(of: request)
        checkAnswer(to: request)
        for field in request.fields { checkValue(field.value) }
    }
    // What came as a field's value, too: most inputs are no request.
    if let text = String(validating: input.bytes, as: UTF8.self) { checkValue(text) }
    return 0
}

/// Stops with `message`: in an optimized build a failed precondition says nothing.
func demand(
    _ condition: Bool, _ message: @autoclosure () -> String,
    _ file: StaticString = #fileID, _ line: UInt = #line
) {
    if !condition { fatalError(message(), file: file, line: line) }
}

func demandSame<Value: Equatable>(
    _ value: Value, _ expected: Value, _ message: @autoclosure () -> String,
    _ file: StaticString = #fileID, _ line: UInt = #line
) {
    demand(value == expected, "\(message()):\n\(value)\ninstead of\n\(expected)", file, line)
}

/// Limits only take away: what passes tight ones is the beginning of what the default ones give.
private func staysWithinTighterLimits(_ input: FuzzInput, _ reading: Reading) {
    let loose = Reading.fast(input.bytes)
    demand(
        loose.messages.starts(with: reading.messages),
        "a tighter limit lets more through:\n\(reading)\ninstead of\n\(loose)")
    if case .refused = reading.end { return }
    demandSame(reading, loose, "a tighter limit changes what it does not refuse")
}

/// The requests written as we understood them are read as the same ones: nothing is hidden in them
/// for whoever reads after us.
private func keepsItsMeaning(_ reading: Reading) {
    var bytes: [UInt8] = []
    for message in reading.messages {
        bytes += "\(message.method) \(message.target) HTTP/1.\(message.minorVersion)\r\n".utf8
        for field in message.fields { bytes += "\(field)\r\n".utf8 }
        bytes += "\r\n".utf8
        if message.values("transfer-encoding").isEmpty {
            bytes += message.body
        } else {
            if !message.body.isEmpty {
                bytes += "\(String(message.body.count, radix: 16))\r\n".utf8
                bytes += message.body + Array("\r\n".utf8)
            }
            bytes += "0\r\n\r\n".utf8
        }
    }
    var expected = reading
    expected.end = .complete
    demandSame(Reading.fast(bytes), expected, "written, then read: another request")
}

extension Reading.Message {
    /// The values of the fields of this name, which is in lower case.
    fileprivate func values(_ name: String) -> [Substring.UTF8View] {
        fields.map { $0.utf8.split(separator: UInt8(ascii: ":"), maxSplits: 1) }
            .filter { $0[0].elementsEqual(name.utf8) { $0.lowercased == $1 } }
            .map { $0[1] }
    }
}
