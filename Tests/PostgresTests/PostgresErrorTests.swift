import Postgres
import TestSupport
import Testing

@Suite(.proves("H4")) struct `A refusal of the server` {
    private static let schema = """
        CREATE TABLE parent (id int8 CONSTRAINT parent_key PRIMARY KEY);
        CREATE TABLE child (
            id     int8 NOT NULL,
            parent int8 CONSTRAINT child_parent REFERENCES parent,
            size   int8 CONSTRAINT child_size_positive CHECK (size > 0)
        );
        INSERT INTO parent VALUES (1);
        """

    @Test(
        arguments: [
            ("INSERT INTO parent VALUES (1)", .uniqueViolation(constraint: "parent_key")),
            (
                "INSERT INTO child VALUES (1, 9, 1)",
                .foreignKeyViolation(constraint: "child_parent")
            ),
            (
                "INSERT INTO child VALUES (1, 1, 0)",
                .checkViolation(constraint: "child_size_positive")
            ),
            ("EXECUTE nothing", .undefinedStatement),
            ("PREPARE a AS SELECT 1; PREPARE a AS SELECT 1", .duplicateStatement),
            ("SET statement_timeout = 1; SELECT pg_sleep(5)", .queryCanceled),
            ("BEGIN READ ONLY; INSERT INTO parent VALUES (2)", .readOnly),
            (
                "SET ROLE pg_monitor; SELECT * FROM parent",
                .insufficientPrivilege("permission denied for table parent")
            ),
            (
                "DO $$BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'BW001', DETAIL = 'secret'; END$$",
                .other("BW001", message: "no")
            ),
            ("DO $$BEGIN RAISE SQLSTATE '40P01'; END$$", .serialization),
            ("DO $$BEGIN RAISE SQLSTATE '40001'; END$$", .serialization),
            ("DO $$BEGIN RAISE SQLSTATE '53300'; END$$", .insufficientResources("53300")),
            ("DO $$BEGIN RAISE SQLSTATE '57P01'; END$$", .connectionLost(.unknown)),
        ] as [(String, PostgresError)])
    func `is read once into a case`(sql: String, expected: PostgresError) async throws {
        try await TestDatabase.withDatabase { url in
            let session = try Session(Conninfo(url: url))
            try session.run(Self.schema)
            #expect(throws: expected) { try session.run(sql) }
        }
    }

    @Test func `over a lock is told apart`() async throws {
        try await TestDatabase.withDatabase { url in
            let holder = try Session(Conninfo(url: url))
            try holder.run("CREATE TABLE t ()")
            try holder.run("BEGIN; LOCK TABLE t")
            let other = try Session(Conninfo(url: url))
            #expect(throws: PostgresError.lockTimeout) {
                try other.run("SET lock_timeout = 1; LOCK TABLE t")
            }
        }
    }

    @Test func `to connect is an answer with its reason`() async throws {
        let error = #expect(throws: PostgresError.self) {
            try Session(Conninfo(url: "postgresql:///x?host=/nonexistent"))
        }
        guard case .unavailable(let reason) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(reason.contains("/nonexistent"))
    }

    @Test func `says whether it may pass and whether it may have happened`() {
        #expect(PostgresError.serialization.isTransient)
        #expect(!PostgresError.uniqueViolation(constraint: "").isTransient)
        #expect(PostgresError.connectionLost(.unknown).mayHaveHappened)
        #expect(!PostgresError.connectionLost(.notApplied).mayHaveHappened)
        #expect(!PostgresError.overloaded.mayHaveHappened)
    }
}
