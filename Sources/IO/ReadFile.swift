internal import Glibc

/// A small text file's contents; nil if it cannot be read. Of one over 1 MiB nil too, or its start.
package func readFile(_ path: String, orItsStart: Bool = false) -> String? {
    let descriptor = unsafe open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var room = [UInt8](repeating: 0, count: 16_384)
    while bytes.count <= 1 << 20 {
        let count = unsafe read(descriptor, &room, room.count)
        if count < 0 { return nil }
        if count == 0 { return String(decoding: bytes, as: UTF8.self) }
        bytes += room.prefix(count)
    }
    return orItsStart ? String(decoding: bytes, as: UTF8.self) : nil
}
