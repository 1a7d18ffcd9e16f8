internal import CEmbedded

/// `openapi/breakwater.yaml`, which is part of the binary.
let contract: [UInt8] = {
    let file = unsafe bw_contract()
    return unsafe Array(UnsafeBufferPointer(start: file.bytes, count: file.count))
}()
