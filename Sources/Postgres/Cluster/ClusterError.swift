/// Why the private PostgreSQL could not be had. The text says what to do.
package enum ClusterError: Error, Hashable, Sendable {
    /// No usable `initdb` and `postgres` of at least version 15.
    case noBinaries(searched: [String])
    /// Another service works on this folder.
    case inUse(path: String)
    /// The folder was made by a major version that is not installed.
    case otherVersion(folder: String, found: Int, installed: Int)
    /// We are root, which PostgreSQL refuses to be, and cannot become anybody else.
    case noUser(String)
    /// A folder of ours belongs to somebody else, or is open to others.
    case unsafeFolder(path: String, reason: String)
    /// No client program of this name that knows servers of this version.
    case noTool(name: String, major: Int)
    case system(code: Int32, call: String, path: String)
    /// A program of PostgreSQL failed; its last words.
    case failed(program: String, output: String)
    /// It runs, but does not answer.
    case noAnswer(String)
}

extension ClusterError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .noBinaries(let searched):
            "no PostgreSQL 15 or newer found in \(searched.joined(separator: ", ")): install it "
                + "(apt-get install postgresql), or set DATABASE_URL to a running one"
        case .inUse(let path):
            "another service works on \(path): stop it, or choose another data folder"
        case .otherVersion(let folder, let found, let installed):
            "\(folder) was made by PostgreSQL \(found), and \(installed) is installed: install "
                + "version \(found) (apt-get install postgresql-\(found)), or move the data with "
                + "pg_upgrade"
        case .noUser(let reason):
            "PostgreSQL does not run as root, and \(reason): make the user 'postgres', or start "
                + "Breakwater as an ordinary user"
        case .unsafeFolder(let path, let reason): "will not use \(path): it \(reason)"
        case .noTool(let name, let major):
            "no \(name) of PostgreSQL \(major) or newer found: install it (apt-get install "
                + "postgresql-client-\(major)), or name its folder with postgres.binaries"
        case .system(let code, let call, let path):
            "\(call) \(path): \(systemMessage(code))"
        case .failed(let program, let output): "\(program) failed: \(output)"
        case .noAnswer(let reason): "the private PostgreSQL does not answer: \(reason)"
        }
    }
}
