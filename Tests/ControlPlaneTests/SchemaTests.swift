import ControlPlane
import Foundation
import Postgres
import TestSupport
import Testing

@Suite struct `The embedded schema` {
    @Test(.proves("H4"))
    func `is the folder of migrations, file by file`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let files = try FileManager.default.contentsOfDirectory(
            at: root.appending(path: "migrations"), includingPropertiesForKeys: nil
        ).filter { $0.pathExtension == "sql" }.sorted { $0.path < $1.path }
        let migrations = Schema.migrations
        #expect(
            migrations.map { "\($0).sql" } == files.map(\.lastPathComponent))
        for (migration, file) in zip(migrations, files) {
            #expect(migration.sql == (try String(contentsOf: file, encoding: .utf8)), "\(file)")
        }
    }
}
