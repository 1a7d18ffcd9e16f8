import IO

/// Enough of a shell for what health checks and demonstrations run: `echo`, `printf`, `true`, `false`,
/// `exit`, `sleep`, `pwd`, `whoami`, joined by `;`, `&&` and `||`, with quotes, `$NAME` and `>&2`.
package struct Shell: Sendable {
    package enum Step: Hashable, Sendable {
        case output(String)
        case errors(String)
        case wait(Duration)
    }

    package private(set) var steps: [Step] = []
    package private(set) var status = 0

    private enum Token: Hashable {
        case word(String)
        /// `;`, `&&`, `||`
        case control(String)
        case toErrors
    }

    /// Runs at most 256 commands.
    package init(_ text: String, environment: [String: String] = [:]) {
        var words: [String] = []
        var toErrors = false
        var before = ";"
        var count = 0
        for token in Self.tokens(text, environment) + [.control(";")] {
            switch token {
            case .word(let word): words.append(word)
            case .toErrors: toErrors = true
            case .control(let next):
                let isWanted = before == ";" || (before == "&&") == (status == 0)
                if isWanted, !words.isEmpty {
                    count += 1
                    if count > 256 || !run(words, toErrors) { return }
                }
                // What was left out by `a || b && c` still decides about c.
                before = next
                words = []
                toErrors = false
            }
        }
    }

    /// False after `exit`.
    private mutating func run(_ words: [String], _ toErrors: Bool) -> Bool {
        let arguments = words.dropFirst()
        status = 0
        var text = ""
        switch words[0] {
        case "echo":
            let isBare = arguments.first == "-n"
            text = arguments.dropFirst(isBare ? 1 : 0).joined(separator: " ") + (isBare ? "" : "\n")
        case "printf": text = Self.formatted(Array(arguments))
        case "true", ":": break
        case "false": status = 1
        case "exit":
            status = arguments.first.flatMap { Int($0) }.map { $0 & 0xff } ?? 0
            return false
        case "sleep":
            guard let seconds = arguments.first.flatMap({ Double($0) }), seconds >= 0 else {
                steps.append(.errors("sleep: invalid time interval\n"))
                status = 1
                return true
            }
            steps.append(.wait(.seconds(min(seconds, 3600))))
        case "pwd": text = "/home/user\n"
        case "whoami": text = "user\n"
        default:
            steps.append(.errors("/bin/bash: line 1: \(words[0]): command not found\n"))
            status = 127
        }
        if !text.isEmpty { steps.append(toErrors ? .errors(text) : .output(text)) }
        return true
    }

    /// `%s` and `%d` take an argument each, `%%` and `\n`, `\t` stand for themselves.
    private static func formatted(_ arguments: [String]) -> String {
        guard let format = arguments.first else { return "" }
        var left = arguments.dropFirst()
        var text = ""
        var mark: Character?
        for character in format {
            switch (mark, character) {
            case ("%", "s"), ("%", "d"): text += left.popFirst() ?? ""
            case ("%", "%"): text += "%"
            case ("\\", "n"): text += "\n"
            case ("\\", "t"): text += "\t"
            case (nil, "%"), (nil, "\\"):
                mark = character
                continue
            case (let mark?, _): text += String(mark) + String(character)
            case (nil, _): text.append(character)
            }
            mark = nil
        }
        return text + (mark.map { String($0) } ?? "")
    }
}

extension Shell {
    private static func tokens(_ text: String, _ environment: [String: String]) -> [Token] {
        var tokens: [Token] = []
        var word: String?
        var rest = Substring(text)
        var room = 65_536  // octets that all variables together may add
        func variable() -> String {
            let braces = rest.first == "{"
            if braces { rest.removeFirst() }
            let name = rest.prefix { $0.isLetter || $0.isNumber || $0 == "_" }
            rest = rest.dropFirst(name.count + (braces ? 1 : 0))
            let value = environment[String(name)] ?? ""
            room -= value.utf8.count
            return room < 0 ? "" : value
        }
        func endWord() {
            if let ended = word { tokens.append(.word(ended)) }
            word = nil
        }
        while let character = rest.popFirst() {
            switch character {
            case "'":
                let quoted = rest.prefix { $0 != "'" }
                word = (word ?? "") + quoted
                rest = rest.dropFirst(quoted.count + 1)
            case "\"":
                var quoted = ""
                while let inner = rest.popFirst(), inner != "\"" {
                    switch inner {
                    case "\\" where rest.first.map { "\"\\$`".contains($0) } ?? false:
                        if let next = rest.popFirst() { quoted.append(next) }
                    case "$": quoted += variable()
                    default: quoted.append(inner)
                    }
                }
                word = (word ?? "") + quoted
            case "\\": if let next = rest.popFirst() { word = (word ?? "") + String(next) }
            case "$": word = (word ?? "") + variable()
            case " ", "\t": endWord()
            case ";", "\n":
                endWord()
                tokens.append(.control(";"))
            case "&" where rest.first == "&", "|" where rest.first == "|":
                rest.removeFirst()
                endWord()
                tokens.append(.control(String(repeating: character, count: 2)))
            case ">" where rest.hasPrefix("&2"):
                rest = rest.dropFirst(2)
                if word == "1" { word = nil }
                endWord()
                tokens.append(.toErrors)
            default: word = (word ?? "") + String(character)
            }
        }
        endWord()
        return tokens
    }
}
