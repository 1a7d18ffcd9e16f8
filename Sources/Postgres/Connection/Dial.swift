internal import CLibpq
internal import Glibc
internal import IO

/// A fresh connection on its way from the thread that made it to the loop that will use it.
@safe final class Connected: @unchecked Sendable {
    // Unchecked: one holder at a time, first the dialling thread, then the loop's.
    private var connection: OpaquePointer?

    init(_ connection: OpaquePointer) {
        unsafe self.connection = connection
    }

    deinit {
        if let connection = unsafe connection { unsafe PQfinish(connection) }
    }

    /// Hands over the connection, and with it the duty to finish it.
    func take() -> OpaquePointer? {
        defer { unsafe connection = nil }
        return unsafe connection
    }
}

/// One attempt to connect, on a thread of its own: name look-up, `.pgpass`, certificates and the
/// TLS handshake all block in libpq, and a loop must not.
final class Dial: @unchecked Sendable {
    // Unchecked: `waiter` is touched on the loop's thread only.
    private let waiter = Waiter<Result<Connected, PostgresError>>()
    private let loop: EventLoop
    private let conninfo: Conninfo

    init(_ conninfo: Conninfo, on loop: EventLoop) {
        self.conninfo = conninfo
        self.loop = loop
    }

    /// Throws `.unavailable` with the reason. Call it on the loop.
    func connect() async throws(PostgresError) -> Connected {
        let started = startThread {
            let outcome: Result<Connected, PostgresError>
            do throws(PostgresError) {
                outcome = .success(unsafe Connected(try self.conninfo.connect()))
            } catch {
                outcome = .failure(error)
            }
            self.loop.execute { self.waiter.resume(outcome) }
        }
        if !started { throw .unavailable("no thread left to connect on") }
        return try await waiter.wait().get()
    }

    /// Ends the wait at once; a connection that still comes is closed. Call it on the loop.
    func abandon() {
        waiter.resume(.failure(.unavailable("closing")))
    }
}

/// Runs `work` on a new, detached thread. False when the system has none left.
func startThread(_ work: @escaping @Sendable () -> Void) -> Bool {
    final class Work: Sendable {
        let body: @Sendable () -> Void
        init(_ body: @escaping @Sendable () -> Void) { self.body = body }
    }
    let context = unsafe Unmanaged.passRetained(Work(work))
    var thread = pthread_t()
    let code = unsafe pthread_create(
        &thread, nil,
        { context in
            guard let context = unsafe context else { return nil }
            unsafe Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body()
            return nil
        }, context.toOpaque())
    guard code == 0 else {
        unsafe context.release()
        return false
    }
    pthread_detach(thread)
    return true
}
