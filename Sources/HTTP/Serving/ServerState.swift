import IO

/// What the connections of one server share. Its variables belong to the loop's thread, as do the
/// actors that alone hold it; a lock would guard nothing.
final class ServerState: @unchecked Sendable {
    let routes: Routes
    let limits: HTTPLimits
    let deadlines: HTTPDeadlines
    let observer: (any HTTPObserver)?

    let pool = BufferPool(limit: 256)
    var date = DateField()
    var random = RandomSource()
    var isDraining = false
    /// Octets of bodies that are being received.
    var bufferedBodyBytes = 0

    init(
        routes: Routes, limits: HTTPLimits, deadlines: HTTPDeadlines,
        observer: (any HTTPObserver)?
    ) {
        self.routes = routes
        self.limits = limits
        self.deadlines = deadlines
        self.observer = observer
    }
}
