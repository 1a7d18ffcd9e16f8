/// A message cut into words, in one pass over its bytes.
///
/// A word is a run without white space, quotes, brackets or any of `, ; : ! ? = | *`; so
/// `sbx-429abc`, `/var/quota/503.txt` and `rate-limit-demo` are one word each and mean nothing.
struct MessageWords {
    struct Word {
        /// As it stands there.
        let text: String
        /// In lower case.
        let folded: String
        /// Stands alone between quotes: somebody's name for something.
        let isName: Bool
        /// Begins the message, or follows a colon and a space, or a closing bracket.
        let startsPart: Bool
        /// Ends the message, or a colon and a space follow, or JSON.
        let endsPart: Bool
        /// A colon, an equals sign or an opening bracket stands before it.
        let followsSign: Bool
    }

    let words: [Word]

    /// - Parameter maxBytes: of a longer text only the two ends are read, half of it each: a message
    ///   begins with what happened, a stack trace ends with it.
    init(_ text: String, maxBytes: Int = 4096) {
        let bytes = Array(text.utf8)
        if bytes.count <= maxBytes {
            words = Self.words(of: bytes[...])
        } else {
            words =
                Self.words(of: bytes.prefix(maxBytes / 2))
                + Self.words(of: bytes.suffix(maxBytes / 2))
        }
    }

    private static func words(of bytes: ArraySlice<UInt8>) -> [Word] {
        var words: [Word] = []
        var index = bytes.startIndex
        var gap = bytes[index..<index]
        while index < bytes.endIndex {
            let start = index
            while index < bytes.endIndex, isPartOfWord(bytes, index) { index += 1 }
            let body = trimmed(bytes[start..<index])
            let end = index
            while index < bytes.endIndex, !isPartOfWord(bytes, index) { index += 1 }
            let next = bytes[end..<index]
            if !body.isEmpty {
                words.append(word(body, after: gap, before: next, isFirst: words.isEmpty))
            }
            gap = next
        }
        return words
    }

    private static func word(
        _ body: ArraySlice<UInt8>, after gap: ArraySlice<UInt8>, before next: ArraySlice<UInt8>,
        isFirst: Bool
    ) -> Word {
        let text = String(decoding: body, as: UTF8.self)
        let colon = UInt8(ascii: ":")
        // Between quotes, and no value of a JSON member: those have a colon before the quote.
        let isQuoted =
            gap.last.map { quotes.contains($0) && $0 == next.first } ?? false
            && !gap.contains(colon)
        return Word(
            text: text, folded: text.lowercased(), isName: isQuoted,
            startsPart: isFirst || gap.contains(UInt8(ascii: "]"))
                || (gap.contains(colon) && gap.contains(where: isSpace)),
            endsPart: next.isEmpty || next.contains(UInt8(ascii: "{"))
                || (next.first == colon && next.contains(where: isSpace)),
            followsSign: gap.contains(colon) || gap.contains(UInt8(ascii: "="))
                || gap.contains(UInt8(ascii: "(")))
    }

    private static let quotes: [UInt8] = Array("\"'`".utf8)
    private static let separators = Set("\"'`()[]{}<>,;:!?=|*".utf8)

    private static func isSpace(_ byte: UInt8) -> Bool { byte <= 0x20 }

    private static func isPartOfWord(_ bytes: ArraySlice<UInt8>, _ index: Int) -> Bool {
        let byte = bytes[index]
        if byte == UInt8(ascii: "'") {  // wasn't
            return index > bytes.startIndex && index + 1 < bytes.endIndex
                && isLetter(bytes[index - 1]) && isLetter(bytes[index + 1])
        }
        return byte > 0x20 && byte < 0x7f && !separators.contains(byte)
    }

    private static func isLetter(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func trimmed(_ word: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var word = word
        while word.last == UInt8(ascii: ".") { word = word.dropLast() }
        return word
    }
}

extension MessageWords {
    /// The HTTP status that the text tells: `404: no such thing`, `HTTP/1.1 503`, `status code 502`,
    /// `"code":429`, `SandboxException: 405`, or nothing but a number.
    var status: Int? {
        for index in words.indices {
            guard let status = Self.status(words[index].text) else { continue }
            if isStatus(at: index) { return status }
        }
        return nil
    }

    private static func status(_ text: String) -> Int? {
        guard text.utf8.count == 3, let number = Int(text), (400...599).contains(number) else {
            return nil
        }
        return number
    }

    private func isStatus(at index: Int) -> Bool {
        let word = words[index]
        let before = index > 0 ? words[index - 1].folded : ""
        let earlier = index > 1 ? words[index - 2].folded : ""
        switch before {
        case "http", "http/1.0", "http/1.1", "http/2", "http/3", "statuscode", "status_code":
            return true
        case "status": return earlier != "exit"
        case "of": return earlier == "status"
        case "error": return words[index - 1].startsPart || earlier == "http" || word.followsSign
        case "code":
            return ["status", "response", "error", "http"].contains(earlier)
                || (word.followsSign && !["exit", "return", "with"].contains(earlier))
        default: break
        }
        guard word.startsPart else { return false }
        if word.endsPart {
            // Alone after a colon it is a status only behind the name of an error.
            let isLast = index == words.count - 1
            return !isLast || index == 0 || before.hasSuffix("error")
                || before.hasSuffix("exception")
        }
        guard index + 1 < words.count else { return false }
        return words[index + 1].text == "-" || Self.reasons.contains(words[index + 1].folded)
    }

    /// First words of the reason phrases, and of what proxies write there.
    private static let reasons: Set<String> = [
        "bad", "unauthorized", "forbidden", "not", "method", "request", "conflict", "gone", "too",
        "unprocessable", "internal", "service", "gateway", "insufficient", "payment", "upstream",
        "client", "server",
    ]
}
