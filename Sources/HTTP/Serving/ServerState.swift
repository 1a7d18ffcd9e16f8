import IO

/// What the connections of one server share. Its variables belong to the loop's thread, as do the
/// actors that alone hold it; a lock would guard nothing.
final class ServerState: @unchecked Sendable {
    let routes: Routes
    let limits: HTTPLimits
    let deadlines: HTTPDeadlines
    let observer: (any HTTPObserver)?
    /// The lesser of `deadlines.park` and `idle`, which each request adds to the time: a `Duration` takes
    /// 128-bit division.
    let parkNanoseconds: Int64

    let pool = BufferPool(limit: 256)
    // Read and stored whole, never changed in place: then accesses need no check at run time.
    private var date = DateField()
    var random = RandomSource()
    var isDraining = false
    /// Octets of bodies that are being received.
    var bufferedBodyBytes = 0

    /// The line `Date: ...` of this second.
    func dateBytes(at now: MonotonicInstant) -> [UInt8] {
        if now >= date.expiry { date = DateField(at: now) }
        return date.bytes
    }

    /// An id for what is refused before it is a request.
    func makeID() -> RequestID {
        var random = random
        defer { self.random = random }
        return RequestID(made: random.next(), random.next())
    }

    init(
        routes: Routes, limits: HTTPLimits, deadlines: HTTPDeadlines,
        observer: (any HTTPObserver)?
    ) {
        self.routes = routes
        self.limits = limits
        self.deadlines = deadlines
        self.observer = observer
        parkNanoseconds = min(deadlines.park.nanoseconds, deadlines.idle.nanoseconds, .max / 4)
    }
}
