import CEmbedded
import Postgres

/// The files that are part of the binary.
enum Embedded {
    /// The schema's steps, from `migrations/`.
    static var migrations: [Migration] {
        (0..<bw_migration_count()).map { index in
            let (name, bytes) = unsafe contents(bw_migration(index))
            let digits = name.prefix { $0.isNumber }
            return Migration(
                version: Int(digits) ?? 0, name: String(name.dropFirst(digits.count + 1)),
                sql: String(decoding: bytes, as: UTF8.self))
        }
    }

    /// `openapi/breakwater.yaml`.
    static var contract: [UInt8] { unsafe contents(bw_contract()).bytes }

    private static func contents(_ file: bw_embedded_file) -> (name: String, bytes: [UInt8]) {
        unsafe (
            String(cString: file.name),
            Array(UnsafeBufferPointer(start: file.bytes, count: file.count))
        )
    }
}
