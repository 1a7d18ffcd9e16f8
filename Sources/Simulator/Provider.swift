import HTTP
package import IO

/// The simulated provider: every region's sandboxes, the faults, the clock and the book, on one loop.
///
/// Nothing runs by itself: what time brings about (a sandbox's end, a fault's window) is worked out
/// when somebody looks.
package actor Provider: LoopBound {
    package nonisolated let loop: EventLoop

    var script: Script
    /// The text of `script`, as `/_sim/script` shows it.
    var scriptText: [UInt8]
    var clock = SimulatedClock()
    /// When the script was put in force.
    var scriptStart: Duration = .zero
    var faults: FaultEngine
    var inventory: Inventory
    var idempotency = IdempotencyRecords()
    var book: Book
    private var buckets: [Inventory.Team: TokenBucket] = [:]
    private var latencies: Draws
    private var names: Draws

    package init(on loop: EventLoop, _ script: Script, text: [UInt8]) {
        self.loop = loop
        self.script = script
        scriptText = text
        faults = FaultEngine(script.faults, seed: script.seed)
        inventory = Inventory(keepingEnded: script.book.sandboxes)
        book = Book(keeping: script.book.calls)
        latencies = Draws(seed: script.seed, stream: 1 << 32)
        names = Draws(seed: script.seed, stream: 1 << 33)
    }

    /// The time, after everything that was due has happened.
    func settledNow() -> Duration {
        let now = clock.now
        inventory.settle(at: now)
        return now
    }

    // MARK: Changing it while it runs

    /// Puts another script in force: its faults, limits, keys, templates and latencies, and its seed.
    /// Sandboxes, clock and book stay.
    ///
    /// - Throws: what may not change, as the pointer of the member and why.
    package func put(_ script: Script, text: [UInt8]) throws(ScriptChange) {
        guard script.regions.map(\.name) == self.script.regions.map(\.name) else {
            throw ScriptChange(
                pointer: "/regions", message: "the regions, by name and order, must stay the same")
        }
        for (index, region) in script.regions.enumerated()
        where !region.listen.isEmpty && region.listen != self.script.regions[index].listen {
            throw ScriptChange(
                pointer: "/regions/\(index)/listen", message: "addresses are fixed at the start")
        }
        guard script.book == self.script.book || script.book == Script.BookLimits() else {
            throw ScriptChange(pointer: "/book", message: "the book's size is fixed at the start")
        }
        var script = script
        script.book = self.script.book
        for index in script.regions.indices {
            script.regions[index].listen = self.script.regions[index].listen
        }
        self.script = script
        scriptText = text
        restart()
    }

    /// Forgets sandboxes, calls and idempotency keys and begins the script from its start.
    package func reset() {
        inventory = Inventory(keepingEnded: script.book.sandboxes)
        book = Book(keeping: script.book.calls)
        idempotency = IdempotencyRecords()
        names = Draws(seed: script.seed, stream: 1 << 33)
        restart()
    }

    private func restart() {
        scriptStart = clock.now
        faults = FaultEngine(script.faults, seed: script.seed)
        latencies = Draws(seed: script.seed, stream: 1 << 32)
        buckets = [:]
    }

    package func advance(by duration: Duration) -> Duration {
        clock.advance(by: duration)
        return settledNow()
    }

    // MARK: Parts of a call

    /// What goes wrong with a call.
    func injection(_ call: CallRecord) -> FaultEngine.Injection {
        faults.decide(
            FaultEngine.Call(
                call.operation, region: call.region, key: call.keyID, template: call.template),
            at: clock.now - scriptStart)
    }

    /// Waits as long as such an answer takes.
    ///
    /// - Throws: `IOError.interrupted` when the simulator stops meanwhile.
    func delay(
        _ operation: Operation, _ region: RegionScript, _ injection: FaultEngine.Injection
    ) async throws(IOError) {
        var random = latencies.next()
        let latency = region.latency.draw(operation, using: &random)
        // An hour is longer than any caller's patience.
        let wait = Duration.seconds(min(latency * injection.factor, 3600)) + injection.plus
        if wait > .zero { try await loop.sleep(for: wait) }
    }

    /// Takes a place under the limit on creations.
    func takeCreation(_ team: Inventory.Team, _ region: RegionScript) throws(ProviderError) {
        guard let rate = region.limits.createsPerSecond else { return }
        let now = clock.now
        var bucket =
            buckets[team] ?? TokenBucket(rate: rate, burst: region.limits.createBurst, at: now)
        let wait = bucket.take(at: now)
        buckets[team] = bucket
        if let wait {
            throw .rateLimit(retryAfter: wait, limit: Int(region.limits.createBurst))
        }
    }

    /// A new id: `i` and 19 of `[0-9a-z]`; and a token of 48 hexadecimal digits.
    func makeNames() -> (id: String, token: String) {
        var random = names.next()
        let letters = Array("0123456789abcdefghijklmnopqrstuvwxyz")
        let id = String((0..<19).map { _ in letters[Int(random.next() % 36)] })
        let token = String((0..<48).map { _ in letters[Int(random.next() % 16)] })
        return ("i" + id, token)
    }

    /// Writes a call down as it is answered.
    func note(_ call: CallRecord) {
        var call = call
        call.took = clock.now - call.at
        book.append(call)
    }
}

/// Why a script cannot follow the one in force.
package struct ScriptChange: Error, Hashable, Sendable {
    package let pointer: String
    package let message: String
}

extension RegionScript.Latency {
    /// In seconds.
    func draw(_ operation: Operation, using random: inout RandomSource) -> Double {
        let median =
            switch operation {
            case .create, .resume, .connect: create
            case .command: command
            default: other
            }
        return median.seconds * random.logNormal(sigma: sigma)
    }
}
