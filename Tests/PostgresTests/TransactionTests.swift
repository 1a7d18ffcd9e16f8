import IO
import Postgres
import TestSupport
import Testing

@Suite(.proves("H1", "H4")) struct `A transaction` {
    private static let schema = """
        CREATE TABLE item (id int8 PRIMARY KEY);
        CREATE TABLE note (tenant_id uuid NOT NULL, text text NOT NULL);
        ALTER TABLE note ENABLE ROW LEVEL SECURITY;
        ALTER TABLE note FORCE ROW LEVEL SECURITY;
        CREATE POLICY note_tenant ON note
            USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid);
        DO $$BEGIN
            CREATE ROLE transaction_test;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
        END$$;
        GRANT ALL ON note, item TO transaction_test;
        """
    private static let tenant = Statement("tenant", "SELECT current_setting('app.tenant_id', true)")
    private static let addNote = Statement("add_note", "INSERT INTO note VALUES ($1, $2)")
    private static let notes = Statement("notes", "SELECT text FROM note ORDER BY 1")

    private func withItems(
        _ body: @Sendable (Pipeline) async throws -> Void
    ) async throws {
        try await withPipeline { pipeline, url in
            try Session(Conninfo(url: url)).run(Self.schema)
            try await body(pipeline)
        }
    }

    @Test func `is all or nothing`() async throws {
        try await withItems { pipeline in
            let rows = try await pipeline.transaction([
                (.insert, [.int8(1)]), (.insert, [.int8(2)]), (.count, []),
            ])
            #expect(rows.count == 3)
            #expect(rows[0].affected == 1)
            #expect(try rows[2].only().int(0) == 2)
            await #expect(throws: PostgresError.uniqueViolation(constraint: "item_pkey")) {
                try await pipeline.transaction([
                    (.insert, [.int8(3)]), (.insert, [.int8(1)]), (.insert, [.int8(4)]),
                ])
            }
            #expect(try await pipeline.execute(.count).only().int(0) == 2)
        }
    }

    @Test func `that fails does no harm to the calls around it`() async throws {
        try await withItems { pipeline in
            _ = try await pipeline.execute(.insert, [.int8(0)])
            await withTaskGroup(of: Void.self) { group in
                for number in 1...90 {
                    group.addTask {
                        let id = Parameter.int8(Int64(number))
                        switch number % 3 {
                        case 0:
                            await #expect(throws: Never.self) {
                                try await pipeline.execute(.insert, [id])
                            }
                        case 1:
                            await #expect(throws: Never.self) {
                                try await pipeline.transaction([(.insert, [id]), (.count, [])])
                            }
                        default:
                            await #expect(
                                throws: PostgresError.uniqueViolation(constraint: "item_pkey")
                            ) {
                                try await pipeline.transaction([
                                    (.insert, [id]), (.insert, [.int8(0)]), (.count, []),
                                ])
                            }
                        }
                    }
                }
            }
            #expect(try await pipeline.execute(.count).only().int(0) == 61)
        }
    }

    @Test func `has its tenant, and leaves none behind`() async throws {
        try await withItems { pipeline in
            let id = UUID.v7()
            let rows = try await pipeline.transaction(tenant: id, [(Self.tenant, [])])
            #expect(try rows[0].only().text(0) == id.description)
            #expect(try await pipeline.execute(Self.tenant).only().textIfPresent(0) == "")
            await #expect(throws: PostgresError.self) {
                try await pipeline.transaction(tenant: id, [(Statement("", "SELECT 1/0"), [])])
            }
            #expect(try await pipeline.execute(Self.tenant).only().textIfPresent(0) == "")
        }
    }

    @Test func `sees and writes its tenant's rows alone`() async throws {
        try await TestDatabase.withDatabase(ownSessions: true) { url in
            try Session(Conninfo(url: url)).run(Self.schema)
            var settings = Pipeline.Settings(url: url)
            settings.role = "transaction_test"
            try await withLoop { [settings] loop in
                let pipeline = Pipeline(on: loop, settings)
                try await running(pipeline) {
                    let (mine, other) = (UUID.v7(), UUID.v7())
                    _ = try await pipeline.transaction(
                        tenant: mine, [(Self.addNote, [.uuid(mine), .text("mine")])])
                    let rows = try await pipeline.transaction(tenant: other, [(Self.notes, [])])
                    #expect(rows[0].isEmpty)
                    #expect(try await pipeline.execute(Self.notes).isEmpty)
                    await #expect(throws: PostgresError.self) {
                        try await pipeline.transaction(
                            tenant: other, [(Self.addNote, [.uuid(mine), .text("forged")])])
                    }
                    let own = try await pipeline.transaction(tenant: mine, [(Self.notes, [])])
                    #expect(try own[0].map { row in try row.text(0) } == ["mine"])
                }
            }
        }
    }

    @Test func `in steps holds others back until it ends`() async throws {
        try await withItems { pipeline in
            async let late: Rows = pipeline.withTransaction { transaction throws(PostgresError) in
                _ = try await transaction.execute(.insert, [.int8(1)])
                _ = try await transaction.execute(.sleep, [.double(0.05)])
                _ = try await transaction.execute(.insert, [.int8(2)])
                return try await transaction.execute(.count)
            }
            let others = try await withThrowingTaskGroup(of: Int.self) { group in
                for _ in 0..<20 {
                    group.addTask { try await pipeline.execute(.count).only().int(0) }
                }
                return try await group.reduce(into: Set<Int>()) { $0.insert($1) }
            }
            #expect(try await late.only().int(0) == 2)
            #expect(others.isSubset(of: [0, 2]))
        }
    }

    @Test func `in steps rolls back when its body throws, or goes on after a failure`() async throws
    {
        try await withItems { pipeline in
            await #expect(throws: PostgresError.serialization) {
                try await pipeline.withTransaction { transaction throws(PostgresError) in
                    _ = try await transaction.execute(.insert, [.int8(1)])
                    throw .serialization
                }
            }
            await #expect(
                throws: PostgresError.other("25P02", message: "the transaction had failed")
            ) {
                try await pipeline.withTransaction { transaction throws(PostgresError) in
                    _ = try await transaction.execute(.insert, [.int8(1)])
                    _ = try? await transaction.execute(Statement("", "SELECT 1/0"))
                }
            }
            let count = try await pipeline.execute(.count).only().int(0)
            #expect(count == 0)
        }
    }

    @Test func `in steps whose body stalls loses its connection, not the pipeline`() async throws {
        try await withPipeline(ownSessions: true) {
            $0.idleInTransactionTimeout = .milliseconds(50)
        } _: {
            pipeline, url in
            try Session(Conninfo(url: url)).run(Self.schema)
            let gate = Gate()
            await #expect(throws: PostgresError.connectionLost(.notApplied)) {
                try await pipeline.withTransaction { transaction throws(PostgresError) in
                    _ = try await transaction.execute(.insert, [.int8(1)])
                    async let other: Void = {
                        _ = try? await pipeline.execute(.selectOne)
                        await gate.open()
                    }()
                    await gate.pass()
                    await other
                    _ = try await transaction.execute(.insert, [.int8(2)])
                }
            }
            let count = try await pipeline.execute(.count).only().int(0)
            #expect(count == 0)
        }
    }
}

/// Lets a task wait for another's word.
actor Gate {
    private var isOpen = false
    private var waiting: [CheckedContinuation<Void, Never>] = []

    func open() {
        isOpen = true
        for continuation in waiting { continuation.resume() }
        waiting = []
    }

    func pass() async {
        if isOpen { return }
        await withCheckedContinuation { waiting.append($0) }
    }
}
