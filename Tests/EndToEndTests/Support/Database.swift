import Postgres
import Synchronization
import TestSupport

/// The tests' PostgreSQL, with a database that `breakwater migrate` made to copy each test's own
/// from.
enum Database {
    private static let template = Task<String, any Error> {
        let name = "bw_template_e2e"
        let url = try await onThread { try TestDatabase.makeKeptDatabase(name) }
        let outcome = try await Scratch.with { scratch in
            try await scratch.run(
                ["migrate", "--data", scratch("data")], environment: ["DATABASE_URL": url])
        }
        guard outcome.end == .exited(0) else { throw Failure("migrate: \(outcome.errors)") }
        if TestDatabase.isPooled { try await execute(url, "ALTER ROLE bw_app LOGIN") }
        return name
    }

    /// Gives `body` a folder and a fresh database with the schema; both go afterwards.
    ///
    /// - Parameter ownSessions: never through a pooler.
    static func with<Answer: Sendable>(
        ownSessions: Bool = false,
        _ body: @Sendable (_ url: String, Scratch) async throws -> Answer
    ) async throws -> Answer {
        let template = try await template.value
        return try await TestDatabase.withDatabase(
            template: template, ownSessions: ownSessions
        ) { url in
            try await Scratch.with { scratch in try await body(url, scratch) }
        }
    }

    /// The same without any table in it.
    static func withEmpty<Answer: Sendable>(
        _ body: @Sendable (_ url: String, Scratch) async throws -> Answer
    ) async throws -> Answer {
        // Roles belong to the server: once they are there, two first migrations do not meet.
        _ = try await template.value
        return try await TestDatabase.withDatabase { url in
            try await Scratch.with { scratch in try await body(url, scratch) }
        }
    }

    /// Runs one statement on a connection of its own; its first row's first column, a text.
    @discardableResult
    static func execute(_ url: String, _ sql: String) async throws -> String? {
        try await onThread {
            let session = try Session(Conninfo(url: url, instance: "test"))
            return try session.execute(sql).first?.textIfPresent(0)
        }
    }
}

/// A lock on a table, held while a test needs a call that does not come to its end.
final class HeldLock: Sendable {
    private let session: Mutex<Session?>

    /// - Parameter mode: as in LOCK TABLE, e.g. `EXCLUSIVE`, which lets others read.
    static func take(_ url: String, table: String, mode: String) async throws -> HeldLock {
        try await onThread { try HeldLock(url, table, mode) }
    }

    private init(_ url: String, _ table: String, _ mode: String) throws {
        let session = try Session(Conninfo(url: url, instance: "test"))
        try session.run("BEGIN; LOCK TABLE \(table) IN \(mode) MODE")
        self.session = Mutex(session)
    }

    func release() async throws {
        try await onThread { [self] in session.withLock { $0 = nil } }
    }
}

extension Scratch {
    /// The private PostgreSQL of a data folder in here, as its superuser.
    func clusterURL(_ data: String = "data") throws -> String {
        guard let url = FoundCluster(dataDirectory: self(data)).url() else {
            throw Failure("no PostgreSQL runs in \(data)")
        }
        return url
    }

    /// One statement; its first row's first column, a text.
    @discardableResult
    func sql(_ statement: String, data: String = "data") async throws -> String? {
        try await Database.execute(try clusterURL(data), statement)
    }

    /// Statements, one after the other; then the server reads its settings again.
    func script(_ statements: String, data: String = "data") async throws {
        let url = try clusterURL(data)
        try await onThread {
            let session = try Session(Conninfo(url: url, instance: "test"))
            // ALTER SYSTEM wants to be alone.
            for statement in statements.contains("$$")
                ? [statements]
                : statements.split(
                    separator: ";"
                ).map(String.init)
            {
                try session.run(statement)
            }
            try session.run("SELECT pg_reload_conf(), pg_sleep(0.05)")
        }
    }
}
