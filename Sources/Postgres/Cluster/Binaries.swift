internal import Glibc

/// A folder with `initdb` and `postgres`.
struct Binaries: Hashable, Sendable {
    let folder: String
    let major: Int

    static let oldestMajor = 15

    var initdb: String { folder + "/initdb" }
    var postgres: String { folder + "/postgres" }

    /// The folder given; else those of Debian and of Red Hat, newest first, then PATH.
    ///
    /// - Parameter major: the version that an existing data folder needs; nil for the newest.
    static func find(_ given: String?, major: Int?) throws(ClusterError) -> Binaries {
        let folders = given.map { [$0] } ?? candidates()
        let found = folders.compactMap(Binaries.init(folder:))
            .filter { $0.major >= oldestMajor }
            .sorted { $0.major > $1.major }
        guard let newest = found.first else { throw .noBinaries(searched: folders) }
        guard let major else { return newest }
        guard let exact = found.first(where: { $0.major == major }) else {
            throw .otherVersion(folder: "", found: major, installed: newest.major)
        }
        return exact
    }

    /// Where distributions put them, and PATH.
    static func candidates() -> [String] {
        let debian = names(in: "/usr/lib/postgresql").map { "/usr/lib/postgresql/\($0)/bin" }
        let redHat = names(in: "/usr").filter { $0.hasPrefix("pgsql-") }.map { "/usr/\($0)/bin" }
        let path = unsafe getenv("PATH").map { unsafe String(cString: $0) } ?? ""
        return debian + redHat + path.split(separator: ":").map(String.init)
    }

    private init?(folder: String) {
        let unproven = Binaries(folder: folder, major: 0)
        guard isExecutable(unproven.initdb), isExecutable(unproven.postgres),
            let major = Self.version(of: unproven.postgres)
        else { return nil }
        self.init(folder: folder, major: major)
    }

    private init(folder: String, major: Int) {
        self.folder = folder
        self.major = major
    }

    /// Asks the program itself: `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    static func version(of program: String) -> Int? {
        guard let pipe = unsafe popen("'\(program)' --version", "re") else { return nil }
        defer { unsafe pclose(pipe) }
        var line = [CChar](repeating: 0, count: 256)
        guard unsafe fgets(&line, Int32(line.count), pipe) != nil else { return nil }
        let text = String(
            decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard let word = text.split(separator: ") ").last else { return nil }
        return Int(word.prefix { $0.isNumber })
    }
}
