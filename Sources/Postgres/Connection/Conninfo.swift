internal import CLibpq
internal import Glibc

/// Where and how to connect: an operator's `DATABASE_URL`, handed whole to libpq, and what
/// Breakwater adds where neither the URL nor a `PG...` variable says it.
package struct Conninfo: Hashable, Sendable {
    /// A URI or a `key=value` string, as libpq takes it. May hold a password: never logged.
    package let url: String
    /// `application_name` is `breakwater/<instance>`, seen in `pg_stat_activity`.
    package let instance: String

    package init(url: String, instance: String = "local") {
        self.url = url
        self.instance = instance
    }
}

extension Conninfo {
    /// The same server and log-in with another database.
    ///
    /// Throws `.unavailable` where libpq does not understand the URL.
    package func onDatabase(_ name: String) throws(PostgresError) -> Conninfo {
        let words = try parsed().filter { $0.keyword != "dbname" } + [("dbname", name)]
        return Conninfo(
            url: words.map { Self.word($0.0, $0.1) }.joined(separator: " "), instance: instance)
    }

    /// What the URL says, by libpq's keywords.
    private func parsed() throws(PostgresError) -> [(keyword: String, value: String)] {
        guard let options = unsafe PQconninfoParse(url, nil) else {
            throw .unavailable("not a connection string")  // the text may hold a password
        }
        defer { unsafe PQconninfoFree(options) }
        var words: [(keyword: String, value: String)] = []
        var option = unsafe options
        while let keyword = unsafe option.pointee.keyword {
            if let value = unsafe option.pointee.val {
                words.append(unsafe (String(cString: keyword), String(cString: value)))
            }
            unsafe option += 1
        }
        return words
    }

    /// The same as keywords without the password, and the password: a command line is everybody's
    /// to read.
    ///
    /// Throws `.unavailable` where libpq does not understand the URL.
    package func withoutPassword() throws(PostgresError) -> (keywords: String, password: String?) {
        var words: [String] = []
        var password: String?
        for (keyword, value) in try parsed() {
            if keyword == "password" {
                password = value
            } else {
                words.append(Self.word(keyword, value))
            }
        }
        return (words.joined(separator: " "), password)
    }

    private static func word(_ keyword: String, _ value: String) -> String {
        let escaped = value.flatMap { $0 == "'" || $0 == "\\" ? ["\\", $0] : [$0] }
        return keyword + "='" + String(escaped) + "'"
    }

    /// What a setting is called in libpq, the variable that also gives it, and our value.
    ///
    /// With them a dead peer is noticed in about 10 s; without, after the kernel's two hours.
    private static let additions: [(keyword: String, variable: String?, value: String)] = [
        ("connect_timeout", "PGCONNECT_TIMEOUT", "5"),  // seconds, for each host in turn
        ("keepalives_idle", nil, "5"),  // seconds
        ("keepalives_interval", nil, "2"),  // seconds
        ("keepalives_count", nil, "3"),
        ("tcp_user_timeout", nil, "10000"),  // ms
    ]

    /// In libpq's order: what stands before `dbname` is overridden by the URL.
    private var options: [(keyword: String, value: String)] {
        var options = Self.additions.compactMap { addition -> (String, String)? in
            if let variable = addition.variable, unsafe getenv(variable) != nil { return nil }
            return (addition.keyword, addition.value)
        }
        options.append(("fallback_application_name", "breakwater/\(instance)"))
        options.append(("dbname", url))
        return options
    }

    /// Connects and waits for it, on the calling thread: name look-up, hosts in turn, TLS, log-in.
    ///
    /// At most `connect_timeout` for each host, plus name look-up.
    func connect() throws(PostgresError) -> OpaquePointer {
        let options = self.options
        let keywords = options.map(\.keyword)
        let values = options.map(\.value)
        let connection = unsafe withCStrings(keywords) { keywords in
            unsafe withCStrings(values) { values in
                unsafe PQconnectdbParams(keywords, values, 1)
            }
        }
        guard let connection = unsafe connection else { throw .unavailable("out of memory") }
        guard unsafe PQstatus(connection) == CONNECTION_OK else {
            let reason = unsafe lastMessage(of: connection)
            unsafe PQfinish(connection)
            throw .unavailable(reason)
        }
        // Notices would go to standard error; nothing that we run has one worth reading.
        unsafe PQsetNoticeReceiver(connection, { _, _ in }, nil)
        return unsafe connection
    }
}

/// Calls `body` with a C array of strings that ends with a null pointer.
func withCStrings<Answer>(
    _ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> Answer
) -> Answer {
    let copies = unsafe strings.map { unsafe strdup($0) }
    defer { unsafe copies.forEach { unsafe free($0) } }
    return unsafe body(copies.map { unsafe UnsafePointer($0) } + [nil])
}
