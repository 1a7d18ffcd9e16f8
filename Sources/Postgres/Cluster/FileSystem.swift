internal import Glibc

// The few calls on files that the private cluster needs, on absolute paths, without Foundation.

func systemMessage(_ code: Int32) -> String {
    guard let text = unsafe strerror(code) else { return "error \(code)" }
    return unsafe String(cString: text)
}

/// Reads `errno`; call it before anything else can change it.
func systemError(_ call: String, _ path: String) -> ClusterError {
    .system(code: errno, call: call, path: path)
}

/// What is at `path` itself; a symbolic link is not followed.
func status(of path: String) -> stat? {
    var status = stat()
    return unsafe lstat(path, &status) == 0 ? status : nil
}

func isExecutable(_ path: String) -> Bool { unsafe access(path, X_OK) == 0 }

/// The file's bytes as text, at most `limit` from its end; nil when it cannot be read.
func readText(_ path: String, limit: Int = 1 << 20) -> String? {
    let file = unsafe open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
    guard file >= 0 else { return nil }
    defer { close(file) }
    let size = lseek(file, 0, Int32(SEEK_END))
    // What /proc makes has no size and is read from its start.
    if size > limit {
        lseek(file, size - limit, Int32(SEEK_SET))
    } else {
        lseek(file, 0, Int32(SEEK_SET))
    }
    var bytes: [UInt8] = []
    while bytes.count < limit {
        var chunk = [UInt8](repeating: 0, count: 16_384)
        let count = unsafe read(file, &chunk, chunk.count)
        guard count > 0 else { break }
        bytes += chunk[..<count]
    }
    return String(decoding: bytes, as: UTF8.self)
}

/// Replaces the file, never through a symbolic link, mode 0644 before the umask.
func writeText(_ text: String, to path: String) throws(ClusterError) {
    let file = unsafe open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0o644)
    guard file >= 0 else { throw systemError("open", path) }
    defer { close(file) }
    var bytes = Array(text.utf8)[...]
    while !bytes.isEmpty {
        let count = unsafe bytes.withUnsafeBytes { unsafe write(file, $0.baseAddress, $0.count) }
        guard count > 0 else { throw systemError("write", path) }
        bytes = bytes.dropFirst(count)
    }
    // Readable for the user that PostgreSQL runs as, whatever our umask.
    guard fchmod(file, 0o644) == 0 else { throw systemError("fchmod", path) }
}

/// Makes the folder and those above it where they are missing.
func makeFolders(_ path: String, mode: mode_t) throws(ClusterError) {
    var made = ""
    for part in path.split(separator: "/") {
        made += "/" + part
        if unsafe mkdir(made, mode) != 0 && errno != EEXIST { throw systemError("mkdir", made) }
    }
    var status = stat()
    guard unsafe stat(path, &status) == 0 else { throw systemError("stat", path) }
    guard status.st_mode & S_IFMT == S_IFDIR else {
        throw .unsafeFolder(path: path, reason: "is not a folder")
    }
}

/// Makes a folder that only `owner` can enter, or accepts one that is there and is so.
///
/// Safe in a folder like /tmp where others may write too: a link, another owner or open
/// permissions are refused, and nobody else can replace what we made.
func makePrivateFolder(_ path: String, owner: ClusterUser) throws(ClusterError) {
    if unsafe mkdir(path, 0o700) == 0 {
        guard unsafe lchown(path, owner.uid, owner.gid) == 0 else {
            throw systemError("chown", path)
        }
    } else if errno != EEXIST {
        throw systemError("mkdir", path)
    }
    guard let status = status(of: path) else { throw systemError("stat", path) }
    guard status.st_mode & S_IFMT == S_IFDIR else {
        throw .unsafeFolder(path: path, reason: "is not a folder")
    }
    guard status.st_uid == owner.uid else {
        throw .unsafeFolder(path: path, reason: "belongs to user \(status.st_uid)")
    }
    guard status.st_mode & 0o077 == 0 else {
        throw .unsafeFolder(path: path, reason: "is open to others")
    }
}

/// The names in a folder, without `.` and `..`; empty when it cannot be read.
func names(in path: String) -> [String] {
    guard let folder = unsafe opendir(path) else { return [] }
    defer { unsafe closedir(folder) }
    var names: [String] = []
    while let entry = unsafe readdir(folder) {
        let name = unsafe withUnsafePointer(to: &entry.pointee.d_name) { pointer in
            unsafe pointer.withMemoryRebound(to: CChar.self, capacity: 256) {
                unsafe String(cString: $0)
            }
        }
        if name != "." && name != ".." { names.append(name) }
    }
    return names
}

/// Where a symbolic link points, unresolved.
func linkTarget(_ path: String) -> String? {
    var buffer = [UInt8](repeating: 0, count: 4_096)
    let count = unsafe buffer.withUnsafeMutableBytes { bytes in
        let start = unsafe bytes.baseAddress?.assumingMemoryBound(to: CChar.self)
        guard let start = unsafe start else { return -1 }
        return unsafe readlink(path, start, bytes.count)
    }
    guard count >= 0 else { return nil }
    return String(decoding: buffer[..<count], as: UTF8.self)
}

/// The path without links, `.` and `..`; nil when it does not exist.
func resolved(_ path: String) -> String? {
    guard let text = unsafe realpath(path, nil) else { return nil }
    defer { unsafe free(text) }
    return unsafe String(cString: text)
}
