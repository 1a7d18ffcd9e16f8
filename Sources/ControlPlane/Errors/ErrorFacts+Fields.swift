internal import IO
package import Postgres

extension ErrorFacts {
    /// Longest wait that is believed: what is longer counts as this.
    private static let longestWait = 31 * 86_400

    /// Takes note of a header field of the answer; others than those about waiting say nothing.
    ///
    /// - Parameter now: what a date in `Retry-After` is measured against.
    package mutating func note(field: String, _ value: String, now: Timestamp) {
        switch field.lowercased() {
        case "retry-after":
            if let seconds = Self.seconds(value, now) { retryAfter = .seconds(seconds) }
        case "ratelimit-remaining", "x-ratelimit-remaining":
            isRateLimitSpent = isRateLimitSpent || Self.digits(value) == 0
        case "ratelimit-reset", "x-ratelimit-reset":
            // Seconds from now, or, as some send it, since 1970: nobody waits for 15 years.
            guard var seconds = Self.digits(value) else { return }
            if seconds >= 500_000_000 { seconds -= Int(now.milliseconds / 1000) }
            if seconds >= 0 { windowEnd = .seconds(min(seconds, Self.longestWait)) }
        case "ratelimit": noteRateLimit(value)
        default: break
        }
    }

    /// `"default";r=0;t=30` (draft-ietf-httpapi-ratelimit-headers-11) or `remaining=0, reset=30` (-07).
    private mutating func noteRateLimit(_ value: String) {
        for item in value.split(whereSeparator: { ";, ".contains($0) }) {
            let parts = item.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, let number = Self.digits(String(parts[1])) else { continue }
            switch parts[0] {
            case "r", "remaining": isRateLimitSpent = isRateLimitSpent || number == 0
            case "t", "reset": windowEnd = .seconds(min(number, Self.longestWait))
            default: break
            }
        }
    }

    /// Seconds or a date; nil if it is neither or lies in the past (RFC 9110 section 10.2.3).
    private static func seconds(_ value: String, _ now: Timestamp) -> Int? {
        if let seconds = digits(value) { return min(seconds, longestWait) }
        guard let date = Timestamp(httpDate: value), date > now else { return nil }
        return Int(min((date - now).milliseconds + 999, Int64(longestWait) * 1000) / 1000)
    }

    private static func digits(_ value: String) -> Int? {
        let text = value.filter { $0 != " " && $0 != "\t" }.utf8
        guard (1...12).contains(text.count), text.allSatisfy({ (48...57).contains($0) }) else {
            return nil
        }
        return text.reduce(0) { $0 * 10 + Int($1 - 48) }
    }
}

extension Timestamp {
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    /// `Sun, 06 Nov 1994 08:49:37 GMT`, the form that RFC 9110 section 5.6.7 has senders write.
    fileprivate init?(httpDate text: String) {
        let parts = text.split(separator: " ")
        guard parts.count == 6, parts[5] == "GMT", parts[1].utf8.count == 2,
            let month = Self.months.firstIndex(of: String(parts[2]))
        else { return nil }
        let number = month < 9 ? "0\(month + 1)" : "\(month + 1)"
        self.init("\(parts[3])-\(number)-\(parts[1])T\(parts[4])Z")
    }
}
