import ControlPlane
import Glibc
import IO
import Postgres

/// The operator's key of this installation: given, kept in the data folder, or made at first start.
enum OperatorKey {
    /// Makes sure that there is one that works.
    static func ensure(
        _ settings: Settings, _ directory: Directory, _ tell: Tell
    ) async throws {
        let path = settings.data + "/operator.key"
        if let text = settings.operatorKey {
            guard let secret = APIKeySecret(text) else {
                throw SettingsError(
                    "operatorKey: must be e2b_ and 64 lower-case hexadecimal digits, the last 8 a checksum; `breakwater key generate` makes one"
                )
            }
            try await directory.adoptOperatorKey(secret)
        } else if let text = readFile(path)?.trimmed, let secret = APIKeySecret(text) {
            try await directory.adoptOperatorKey(secret)
        } else if try await !directory.hasOperatorKey() {
            var random = SystemRandomNumberGenerator()
            let secret = APIKeySecret(using: &random)
            try writePrivate(secret.text + "\n", to: path, replacing: true)
            try await directory.adoptOperatorKey(secret)
            tell(.operatorKeyMade(keyID: secret.id, path: path))
            print(
                "Operator key, shown once and kept in \(path): \(secret.text)", to: .standardError)
        }
    }
}

/// Writes a small file that its owner alone may read (mode 0600), in a folder that is made if it is
/// missing; on disk when it returns.
func writePrivate(_ text: String, to path: String, replacing: Bool) throws {
    if let slash = path.lastIndex(of: "/") { _ = unsafe mkdir(String(path[..<slash]), 0o755) }
    let mode = O_WRONLY | O_CREAT | O_CLOEXEC | (replacing ? O_TRUNC : O_EXCL)
    let descriptor = unsafe open(path, mode, 0o600)
    guard descriptor >= 0 else { throw IOError.last("open \(path)") }
    defer { close(descriptor) }
    let bytes = Array(text.utf8)
    guard unsafe Glibc.write(descriptor, bytes, bytes.count) == bytes.count, fsync(descriptor) == 0
    else { throw IOError.last("write \(path)") }
}

/// Where a line for people goes.
enum Output {
    case standardOutput
    case standardError
}

func print(_ line: String, to output: Output) {
    let bytes = Array((line + "\n").utf8)
    _ = unsafe Glibc.write(
        output == .standardError ? STDERR_FILENO : STDOUT_FILENO, bytes, bytes.count)
}
