import ControlPlane
import IO
import TestSupport
import Testing

/// What makes a start impossible, and what it then says.
struct Refusal: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var arguments: [String] = []
    var environment: [String: String] = [:]
    let code: Int32
    let message: String

    init(
        _ name: String, _ arguments: [String] = [], environment: [String: String] = [:],
        code: Int32 = 64, _ message: String
    ) {
        testDescription = name
        self.arguments = arguments
        self.environment = environment
        self.code = code
        self.message = message
    }

    static let settings = [
        Refusal("an unknown flag", ["--nonsense"], "Unknown option '--nonsense'"),
        Refusal(
            "an unknown setting", ["--set", "nonsense=1"],
            "there is no setting nonsense; see `breakwater settings`"),
        Refusal(
            "an unknown variable", environment: ["BREAKWATER_NONSENSE": "1"],
            "environment: there is no setting BREAKWATER_NONSENSE; see `breakwater settings`"),
        Refusal(
            "an assignment without a value", ["--set", "drainS"],
            "--set drainS: must be name=value"),
        Refusal(
            "a port past the last", ["--listen", "127.0.0.1:65536"],
            "--listen: listen must be host:port, [host]:port or unix:/path, not 127.0.0.1:65536"),
        Refusal(
            "an address that is none", environment: ["BREAKWATER_LISTEN": "nowhere"],
            "environment: listen must be host:port, [host]:port or unix:/path, not nowhere"),
        Refusal(
            "a duration in words", ["--set", "drainS=soon"],
            "--set: drainS must be a whole number from 0 to 3600 (seconds)"),
        Refusal(
            "a duration with a unit", environment: ["BREAKWATER_KEYS_POLL_MS": "400ms"],
            "environment: keys.pollMs must be a whole number from 50 to 800 (ms)"),
        Refusal(
            "a number past its range", ["--set", "loops=257"],
            "--set: loops must be a whole number from 1 to 256"),
        Refusal(
            "a choice that there is not", ["--set", "logLevel=loud"],
            "--set: logLevel must be info, warning or error"),
        Refusal(
            "neither true nor false", ["--set", "postgres.preparedStatements=maybe"],
            "--set: postgres.preparedStatements must be true or false"),
        Refusal(
            "private upstreams neither allowed nor not",
            environment: ["BREAKWATER_ALLOW_PRIVATE_UPSTREAMS": "some"],
            "environment: outbound.allowPrivate must be true or false"),
        Refusal(
            "a secret key that is too short", environment: ["BREAKWATER_SECRET_KEY": "hush"],
            "environment: secretKey must be 32 octets as 64 hexadecimal digits or in base64"),
        Refusal("no data folder", ["--data", ""], "--data: data must not be empty"),
        Refusal(
            "a file of settings that is missing", ["--config", "/tmp/no/such/file"],
            "cannot read /tmp/no/such/file"),
        Refusal("a folder for a file of settings", ["--config", "/etc"], "cannot read /etc"),
        Refusal(
            "a file of settings that is missing, by variable",
            environment: ["BREAKWATER_CONFIG": "/tmp/no/such/file"],
            "cannot read /tmp/no/such/file"),
        Refusal(
            "a file of a secret that is missing",
            environment: ["DATABASE_URL_FILE": "/tmp/no/such/file"],
            "DATABASE_URL_FILE: cannot read /tmp/no/such/file"),
        Refusal(
            "every origin", ["--set", "http.corsOrigins=*"],
            "--set: http.corsOrigins must name each origin; * is not taken"),
        Refusal(
            "an origin with a path", ["--set", "http.corsOrigins=https://app.example.com/"],
            "--set: http.corsOrigins must be origins like https://app.example.com, as browsers send "
                + "them: lower case, no path, no standard port; not https://app.example.com/"),
        Refusal(
            "a proxy's network with bits too many",
            ["--set", "http.trustedProxies=::1,10.0.0.1/8"],
            "--set: http.trustedProxies must be addresses or networks like 10.0.0.0/8 or ::1, "
                + "without bits behind the prefix, or unix; not 10.0.0.1/8"),
        Refusal(
            "a URL of another database", environment: ["DATABASE_URL": "mysql://root:hush@db/x"],
            "environment: databaseURL must be a libpq URL, postgresql://user@host/database, or "
                + "its keywords, host=... dbname=..."),
    ]

    static let starts = [
        Refusal(
            "a database that nobody serves",
            environment: ["DATABASE_URL": "postgresql://u:hush@127.0.0.1:1/x"], code: 1,
            "the database of DATABASE_URL does not answer: connection to server at "
                + "\"127.0.0.1\", port 1 failed: Connection refused"),
        Refusal(
            "a database on a socket that is not there",
            environment: ["DATABASE_URL": "host=/no/such dbname=x password=hush"], code: 1,
            "the database of DATABASE_URL does not answer: connection to server on socket "
                + "\"/no/such/.s.PGSQL.5432\" failed: No such file or directory"),
        Refusal(
            "a database to migrate that nobody serves",
            environment: [
                "DATABASE_URL": "host=/no/such dbname=x password=hush",
                "DATABASE_MIGRATION_URL": "postgres://u:hush@127.0.0.1:1/x",
            ], code: 1,
            "the database of DATABASE_MIGRATION_URL does not answer: connection to server at "
                + "\"127.0.0.1\", port 1 failed: Connection refused"),
        Refusal(
            "no programs of PostgreSQL", ["--set", "postgres.binaries=/no/such"], code: 1,
            "no PostgreSQL 15 or newer found in /no/such: install it (apt-get install postgresql), "
                + "or set DATABASE_URL to a running one"),
        Refusal(
            "a data folder that cannot be made", ["--data", "/proc/no/such"], code: 1,
            "mkdir /proc/no: No such file or directory"),
        Refusal(
            "a data folder that is a file", ["--data", "/etc/passwd"], code: 1,
            "will not use /etc/passwd: it is not a folder"),
    ]
}

@Suite(.timeLimit(.minutes(3))) struct `A start that cannot succeed` {
    @Test(.proves("H5", "H8"), arguments: Refusal.settings + Refusal.starts)
    func `says in one line why`(_ refusal: Refusal) async throws {
        try await Scratch.with { scratch in
            let start = MonotonicInstant.now
            let outcome = try await scratch.run(
                ["serve", "--data", scratch("data"), "--listen", "127.0.0.1:0"]
                    + refusal.arguments,
                environment: refusal.environment)
            #expect(outcome.end == .exited(refusal.code))
            let first = outcome.errors.split(separator: "\n").first ?? ""
            #expect(
                first.hasPrefix("Error: " + refusal.message)
                    || first.hasPrefix("breakwater: " + refusal.message), "\(outcome.errors)")
            #expect(!outcome.errors.contains("hush"))
            #expect(!outcome.output.contains("service_ready"))
            #expect(start.duration(to: .now) < .seconds(30))
        }
    }

    @Test(.proves("H4"))
    func `names a migration that was changed after it was applied`() async throws {
        try await Database.with { url, scratch in
            try await Database.execute(
                url, "UPDATE schema_migration SET checksum = repeat('0', 64) WHERE version = 2")
            for command in ["serve", "migrate"] {
                let outcome = try await scratch.run(
                    [command, "--data", scratch("data"), "--listen", "127.0.0.1:0"],
                    environment: ["DATABASE_URL": url])
                #expect(outcome.end == .exited(1))
                #expect(
                    outcome.errors == """
                        breakwater: migration 0002_tenants was changed after it was applied; \
                        restore the file as it was, and put the change into a new migration

                        """)
                #expect(!outcome.output.contains("service_ready"))
            }
            let unchanged = try await Database.execute(
                url, "SELECT count(*)::text FROM schema_migration")
            #expect(unchanged == "\(Schema.migrations.count)")
        }
    }

    @Test(.proves("H4"))
    func `asks for a newer binary where the schema is newer`() async throws {
        try await Database.with { url, scratch in
            try await Database.execute(
                url,
                """
                INSERT INTO schema_migration (version, name, checksum, min_binary, duration_ms, applied_by)
                VALUES (1000, 'future', repeat('0', 64), 1000, 0, 'test')
                """)
            let outcome = try await scratch.run(
                ["serve", "--data", scratch("data"), "--listen", "127.0.0.1:0"],
                environment: ["DATABASE_URL": url])
            #expect(outcome.end == .exited(1))
            #expect(
                outcome.errors == """
                    breakwater: the database has schema 1000, which needs a binary that knows 1000: \
                    start a newer one

                    """)
        }
    }

    @Test(.proves("H5"), arguments: ["loops=1", "loops=2"], ["loops=1", "loops=2"])
    func `leaves a port to the instance that has it`(_ loops: String, _ its: String) async throws {
        try await Database.with { url, scratch in
            let first = try await scratch.serve(
                database: url, data: "a", set: ["loops": String(its.suffix(1))])
            let outcome = try await scratch.run(
                [
                    "serve", "--data", scratch("b"), "--listen", "127.0.0.1:\(first.port)", "--set",
                    loops,
                ], environment: ["DATABASE_URL": url], within: .seconds(20))
            #expect(outcome.end == .exited(1))
            #expect(
                outcome.errors == """
                    breakwater: cannot listen on 127.0.0.1:\(first.port): bind: Address already in \
                    use; stop who serves there, or choose another address with --listen

                    """)
            #expect(try await first.asOperator("GET", "/v1/whoami").status == 200)
            try await first.stop()
        }
    }

    @Test func `refuses an operator's key with a typing error`() async throws {
        try await Database.with { url, scratch in
            let key = "e2b_" + String(repeating: "0", count: 64)
            let outcome = try await scratch.run(
                ["serve", "--data", scratch("data"), "--listen", "127.0.0.1:0"],
                environment: ["DATABASE_URL": url, "BREAKWATER_OPERATOR_KEY": key])
            #expect(outcome.end == .exited(1))
            #expect(outcome.errors.hasPrefix("breakwater: operatorKey: must be e2b_ and 64 "))
            #expect(outcome.errors.contains("`breakwater key generate` makes one"))
            #expect(!outcome.errors.contains(key))
        }
    }

    @Test func `reads a file that may not be read no further`() async throws {
        try await Scratch.with { scratch in
            try scratch.write("drainS=5\nnot a setting\n", to: "settings")
            let outcome = try await scratch.run(
                ["settings", "--config", scratch("settings")])
            #expect(outcome.end == .exited(64))
            #expect(
                outcome.errors.hasPrefix(
                    "Error: \(scratch("settings")), line 2: must be NAME=value\n"))
        }
    }
}
