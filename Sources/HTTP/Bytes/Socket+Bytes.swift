import IO

extension Socket {
    /// Reads what is there into the buffer's free room: as `read(into:)`.
    @inline(__always) func read(into buffer: inout ByteBuffer) throws(IOError) -> Int? {
        unsafe try buffer.fill { room throws(IOError) in unsafe try read(into: room) }
    }

    /// Writes what the kernel takes and removes it from the buffer: as `write(_:)`.
    @inline(__always) func write(from buffer: inout ByteBuffer) throws(IOError) -> Int? {
        unsafe try buffer.drain { bytes throws(IOError) in unsafe try write(bytes) }
    }

    /// Writes what the kernel takes of `bytes` from `start` on.
    func write(_ bytes: [UInt8], from start: Int) throws(IOError) -> Int? {
        unsafe try bytes.span.withUnsafeBytes { all throws(IOError) in
            unsafe try write(UnsafeRawBufferPointer(rebasing: all[start...]))
        }
    }
}
