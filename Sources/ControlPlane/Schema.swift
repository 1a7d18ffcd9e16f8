internal import CEmbedded
package import Postgres

/// The schema that this binary knows: the files of `migrations/`, which are part of it.
package enum Schema {
    package static var migrations: [Migration] {
        (0..<bw_migration_count()).map { index in
            let file = unsafe bw_migration(index)
            let name = unsafe String(cString: file.name)
            let bytes = unsafe UnsafeBufferPointer(start: file.bytes, count: file.count)
            let digits = name.prefix { $0.isNumber }
            return Migration(
                version: Int(digits) ?? 0, name: String(name.dropFirst(digits.count + 1)),
                sql: unsafe String(decoding: bytes, as: UTF8.self))
        }
    }
}
