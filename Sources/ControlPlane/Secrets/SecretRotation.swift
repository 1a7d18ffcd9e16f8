package import Postgres

/// Seals the stored secrets again with the key of now, so that the one before can go.
package struct SecretRotation: Sendable {
    /// How many stored values each key seals, by its id.
    package struct State: Hashable, Sendable {
        /// What new values are sealed with; nil: none can be stored.
        package let keyID: String?
        /// Those that open as well.
        package let previous: [String]
        package let values: [String: Int]

        /// Values that no key of this instance opens.
        package var lost: Int {
            let known = Set(previous + [keyID].compactMap { $0 })
            return values.filter { !known.contains($0.key) }.values.reduce(0, +)
        }
    }

    /// Values of one transaction.
    private static let chunk = 200

    private let pipeline: Pipeline
    private let secrets: SecretBox

    package init(_ pipeline: Pipeline, _ secrets: SecretBox) {
        self.pipeline = pipeline
        self.secrets = secrets
    }

    package func state() async throws(ControlPlaneError) -> State {
        var values: [String: Int] = [:]
        do throws(PostgresError) {
            let rows = try await pipeline.transaction([
                (.enterOperator, []), (.secretCounts, []),
            ])
            for row in rows[1] { values[try row.text("key_id")] = try row.int("values") }
        } catch {
            throw .postgres(error)
        }
        return State(keyID: secrets.keyID, previous: secrets.previousIDs, values: values)
    }

    /// Seals what another key has sealed. Again does no harm; a value that is changed meanwhile keeps its
    /// change. One that does not open stays as it is and is counted in `State.lost`.
    ///
    /// Throws `.secretKeyNeeded`.
    package func rotate(by actor: Actor) async throws(ControlPlaneError) -> Int {
        guard let keyID = secrets.keyID else { throw .secretKeyNeeded }
        var (resealed, after): (Int, Stored?) = (0, nil)
        while true {
            let rows: Rows
            do throws(PostgresError) {
                rows = try await pipeline.transaction([
                    (.enterOperator, []),
                    (
                        .secretsOfOthers,
                        [
                            .text(keyID), .text(after?.column.rawValue),
                            .uuid(after?.tenant.uuid), .text(after?.name),
                            .int8(Int64(Self.chunk)),
                        ]
                    ),
                ])[1]
            } catch {
                throw .postgres(error)
            }
            if rows.isEmpty { break }
            var batch = Batch()
            for row in rows {
                let stored = try decode(row, Stored.init)
                after = stored
                guard let place = stored.place,
                    let value = try? secrets.open(stored.sealed, at: place) else { continue }
                batch.add(stored, try secrets.seal(value, at: place))
            }
            resealed += try await write(batch)
        }
        do throws(PostgresError) {
            _ = try await pipeline.transaction([
                (.enterOperator, []),
                actor.audits(
                    "secrets.rotate", keyID, of: .fleet, detail: #"{"resealed": \#(resealed)}"#),
            ])
        } catch {
            throw .postgres(error)
        }
        return resealed
    }

    /// Where secrets are kept.
    private enum Column: String {
        case region, channelTarget = "channel_target", channelSecret = "channel_secret"

        var reseal: Statement {
            switch self {
            case .region: .secretReseal
            case .channelTarget: .channelTargetReseal
            case .channelSecret: .channelSecretReseal
            }
        }
    }

    private struct Stored {
        let column: Column
        let tenant: Tenant.ID
        let name: String
        let sealed: [UInt8]

        init(_ row: Row) throws(PostgresError) {
            guard let column = Column(rawValue: try row.text("place")) else {
                throw .decode("a place of secrets that is none")
            }
            self.column = column
            tenant = Tenant.ID(try row.uuid("tenant_id"))
            name = try row.text("name")
            sealed = try row.bytes("sealed")
        }

        var place: SecretBox.Place? {
            switch column {
            case .region: Region.place(of: name, tenant)
            case .channelTarget: UUID(name).map { AlertChannel.place("target", of: $0, tenant) }
            case .channelSecret: UUID(name).map { AlertChannel.place("secret", of: $0, tenant) }
            }
        }
    }

    private struct Batch {
        var steps: [Pipeline.Step] = []

        mutating func add(_ stored: Stored, _ sealed: [UInt8]) {
            steps.append(
                (
                    stored.column.reseal,
                    [
                        .uuid(stored.tenant.uuid), .text(stored.name), .bytea(stored.sealed),
                        .bytea(sealed),
                    ]
                ))
        }
    }

    private func write(_ batch: Batch) async throws(ControlPlaneError) -> Int {
        if batch.steps.isEmpty { return 0 }
        do throws(PostgresError) {
            let rows = try await pipeline.transaction([(.enterOperator, [])] + batch.steps)
            return rows.dropFirst().filter { !$0.isEmpty }.count
        } catch {
            throw .postgres(error)
        }
    }
}

extension Statement {
    /// Octets 2 to 5 of a sealed value are its key's id.
    private static let keyID = "encode(substr(sealed, 2, 4), 'hex')"
    private static let all = """
        (SELECT 'region' AS place, tenant_id, name, api_key AS sealed FROM region
         UNION ALL SELECT 'channel_target', tenant_id, id::text, target FROM alert_channel
         UNION ALL SELECT 'channel_secret', tenant_id, id::text, secret FROM alert_channel
                   WHERE secret IS NOT NULL) AS secrets
        """

    fileprivate static let secretCounts = Statement(
        "secret_counts",
        "SELECT \(keyID) AS key_id, count(*) AS values FROM \(all) GROUP BY 1 ORDER BY 1")
    fileprivate static let secretsOfOthers = Statement(
        "secrets_of_others",
        """
        SELECT place, tenant_id, name, sealed FROM \(all)
        WHERE  \(keyID) <> $1 AND ($2::text IS NULL OR (place, tenant_id, name) > ($2, $3, $4))
        ORDER  BY place, tenant_id, name LIMIT $5
        """)
    fileprivate static let secretReseal = Statement(
        "secret_reseal",
        """
        UPDATE region SET api_key = $4
        WHERE  tenant_id = $1 AND name = $2 AND api_key = $3 RETURNING name
        """)
    fileprivate static let channelTargetReseal = Statement(
        "channel_target_reseal",
        """
        UPDATE alert_channel SET target = $4
        WHERE  tenant_id = $1 AND id = $2::uuid AND target = $3 RETURNING id
        """)
    fileprivate static let channelSecretReseal = Statement(
        "channel_secret_reseal",
        """
        UPDATE alert_channel SET secret = $4
        WHERE  tenant_id = $1 AND id = $2::uuid AND secret = $3 RETURNING id
        """)
}
