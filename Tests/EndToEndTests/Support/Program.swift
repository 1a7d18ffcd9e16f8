import Foundation
import Glibc
import TestSupport

/// The command under test: `BREAKWATER_BIN`, else the build's own, which lies beside the tests.
enum Program {
    static var path: String {
        get throws {
            let given = ProcessInfo.processInfo.environment["BREAKWATER_BIN"]
            let tests = try FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")
            let path =
                given ?? (tests as NSString).deletingLastPathComponent + "/breakwater"
            guard unsafe access(path, X_OK) == 0 else {
                throw Failure("there is no \(path): run `swift build` first")
            }
            return path
        }
    }

    /// What a command sees: nothing of ours but where programs and libraries are.
    static func environment(_ more: [String: String]) -> [String: String] {
        var environment = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        let libraries = "LD_LIBRARY_PATH"
        environment[libraries] = ProcessInfo.processInfo.environment[libraries]
        return environment.merging(more) { _, new in new }
    }

    /// What a command that ended by itself said.
    struct Outcome: Sendable {
        let end: Child.End
        let output: String
        let errors: String
    }
}

extension Scratch {
    /// Starts `breakwater` with arguments; `prefix` stands before it, e.g. to be another user.
    func breakwater(
        _ arguments: [String], environment: [String: String] = [:], prefix: [String] = [],
        path: String? = nil
    ) throws -> Child {
        let command = prefix + [try path ?? Program.path] + arguments
        return try start(command, environment: Program.environment(environment))
    }

    /// Runs it to its end.
    func run(
        _ arguments: [String], environment: [String: String] = [:], prefix: [String] = [],
        path: String? = nil, within limit: Duration = .seconds(60)
    ) async throws -> Program.Outcome {
        let child = try breakwater(
            arguments, environment: environment, prefix: prefix, path: path)
        let end = try await child.ended(within: limit)
        return Program.Outcome(
            end: end, output: try String(contentsOfFile: child.output, encoding: .utf8),
            errors: try String(contentsOfFile: child.errors, encoding: .utf8))
    }
}
