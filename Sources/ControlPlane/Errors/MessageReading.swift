/// A message, read once: what its words mean.
struct MessageReading {
    let words: MessageWords
    /// Every meaning that occurs, by phrase or by the name of an error.
    private let meanings: Set<Meaning>
    /// What a name in it settles alone.
    let always: ErrorKind?
    /// A code of gRPC or Connect in it, where no phrase says more.
    let codeKind: ErrorKind?

    init(_ message: String, maxBytes: Int) {
        words = MessageWords(message, maxBytes: maxBytes)
        // A name between quotes is not a statement: it breaks phrases in two.
        let folded = words.words.map { $0.isName ? "\u{0}" : $0.folded }
        var meanings = PhraseBook.texts.meanings(in: folded)
        var always: ErrorKind?
        var code: ErrorKind?
        for (index, word) in words.words.enumerated() where !word.isName {
            let isCode =
                index > 0 && word.followsSign && Self.keys.contains(words.words[index - 1].folded)
            switch isCode ? ErrorNames.said(by: word.text) : ErrorNames.said(inText: word.text) {
            case .meaning(let meaning): meanings.insert(meaning)
            case .always(let kind): if kind != .unknown { always = always ?? kind }
            case nil: break
            }
            if code == nil, Self.isCode(at: index, in: words.words) {
                code = RPCCode(word.text)?.kind
            }
        }
        if let meaning = Self.urlError(in: words.words) { meanings.insert(meaning) }
        if let last = words.words.last, last.startsPart, !last.isName,
            let meaning = Meaning.lastWords[last.folded]
        {
            meanings.insert(meaning)
        }
        if meanings.contains(.quota), PhraseBook.spans.meanings(in: folded).contains(.rateLimit) {
            meanings.remove(.quota)
            meanings.insert(.rateLimit)
        }
        self.meanings = meanings
        self.always = always
        codeKind = code
    }

    /// Members of JSON, and words before a sign, whose value is a code.
    private static let keys: Set<String> = [
        "type", "code", "error", "error_code", "errorcode", "reason", "__type", "occurred",
    ]

    var meaning: Meaning? { meanings.min() }

    func means(_ meaning: Meaning) -> Bool { meanings.contains(meaning) }

    func mentions(_ word: String) -> Bool { words.words.contains { $0.folded == word } }

    /// A bad request that is in truth about a limit, as some providers answer.
    var saysLimit: Bool {
        let signs: Set<String> = [
            "throttling", "throttlingexception", "limitexceeded", "limitexceeded.sandboxinstance",
            "quota",
        ]
        return words.words.contains { signs.contains($0.folded) }
            && (means(.quota) || means(.rateLimit))
    }

    /// A conflict that ends by itself.
    var saysItPasses: Bool {
        let signs: Set<String> = [
            "being", "currently", "transitioning", "while", "busy", "progress", "retry", "pending",
        ]
        return words.words.contains { signs.contains($0.folded) }
    }

    /// The transport surely failed before the request was written. In doubt it did not: TLS fails
    /// while reading too, and a host may become unreachable at any time.
    var neverLeft: Bool {
        let signs: Set<String> = [
            "refused", "resolve", "lookup", "getaddrinfo", "enotfound", "econnrefused", "eai_again",
            "handshake", "dial",
        ]
        return words.words.contains { word in
            signs.contains(word.folded)
                || (ErrorNames.said(inText: word.text) != nil && ErrorNames.neverLeft(word.text))
        }
    }

    /// `[unavailable]`, `code = Unavailable`, `StatusCode.UNAVAILABLE`, `Code.unavailable`.
    private static func isCode(at index: Int, in words: [MessageWords.Word]) -> Bool {
        let word = words[index]
        if word.folded.hasPrefix("statuscode.") || word.folded.hasPrefix("code.") { return true }
        if index > 0, words[index - 1].folded == "code" { return word.followsSign }
        // In brackets: the next word begins a part.
        return word.startsPart && index + 1 < words.count && words[index + 1].startsPart
            || index == 0 && words.count > 1 && words[1].startsPart
    }

    /// `NSURLErrorDomain Code=-1001`.
    private static func urlError(in words: [MessageWords.Word]) -> Meaning? {
        for (index, word) in words.enumerated().dropFirst(2)
        where word.text.hasPrefix("-") && words[index - 1].folded == "code"
            && words[index - 2].text == "NSURLErrorDomain"
        {
            return Int(word.text).map { ErrorNames.meaning(ofURLError: $0) }
        }
        return nil
    }
}
