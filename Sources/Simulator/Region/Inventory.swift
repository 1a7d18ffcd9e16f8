import IO

/// All sandboxes of all regions, live and ended, as far as they are remembered.
package struct Inventory: Sendable {
    private var sandboxes: [Int: Sandbox] = [:]
    /// Numbers in order; those of forgotten sandboxes stay until there are as many as known ones.
    private var order: [Int] = []
    private var numberByID: [String: Int] = [:]
    /// Ended ones by the order of their ends.
    private var ended: Ring<Int>
    private var last = 0
    /// No sandbox has anything to do by itself before then.
    private var nextEvent: Duration?
    private var runningByTeam: [Team: Int] = [:]
    private var liveNumbers: Set<Int> = []

    package struct Totals: Hashable, Sendable {
        package var created = 0
        package var byEnd: [String: Int] = [:]
        /// Of those that have ended.
        package var endedRan: Duration = .zero
    }

    package private(set) var totals = Totals()
    /// Running or paused.
    package var live: Int { liveNumbers.count }

    /// Who owns sandboxes: a key of a region.
    package struct Team: Hashable, Sendable {
        package var region: String
        package var keyID: String

        package init(region: String, keyID: String) {
            self.region = region
            self.keyID = keyID
        }
    }

    package init(keepingEnded limit: Int) { ended = Ring(limit) }

    package func running(_ team: Team) -> Int { runningByTeam[team] ?? 0 }

    package var running: Int { runningByTeam.values.reduce(0, +) }

    /// The number that the next sandbox gets.
    package var nextNumber: Int { last + 1 }

    package mutating func add(_ sandbox: Sandbox) {
        precondition(sandbox.number == nextNumber)
        last = sandbox.number
        order.append(last)
        numberByID[sandbox.id] = last
        totals.created += 1
        liveNumbers.insert(last)
        sandboxes[last] = sandbox
        runningByTeam[sandbox.team, default: 0] += 1
        plan(sandbox)
    }

    package subscript(_ id: String) -> Sandbox? { numberByID[id].flatMap { sandboxes[$0] } }

    package subscript(number number: Int) -> Sandbox? { sandboxes[number] }

    package func withToken(_ token: String) -> Sandbox? {
        let number = liveNumbers.first { sandboxes[$0]?.accessToken == token }
        return number.flatMap { sandboxes[$0] }
    }

    /// Changes a sandbox that is known; how it ends, pauses and resumes goes through here alone.
    package mutating func change(_ number: Int, _ body: (inout Sandbox) -> Void) {
        guard var sandbox = sandboxes[number] else { return }
        let before = sandbox.state
        body(&sandbox)
        sandboxes[number] = sandbox
        if before == .running { runningByTeam[sandbox.team, default: 1] -= 1 }
        if sandbox.state == .running { runningByTeam[sandbox.team, default: 0] += 1 }
        if before != .ended, sandbox.state == .ended {
            liveNumbers.remove(number)
            totals.byEnd[sandbox.end?.rawValue ?? "-", default: 0] += 1
            totals.endedRan += sandbox.ranBefore
            if let forgotten = ended.append(number) { forget(forgotten) }
        } else {
            plan(sandbox)
        }
    }

    private mutating func forget(_ number: Int) {
        if let id = sandboxes.removeValue(forKey: number)?.id { numberByID[id] = nil }
        if order.count > 2 * sandboxes.count + 64 { order.removeAll { sandboxes[$0] == nil } }
    }

    private mutating func plan(_ sandbox: Sandbox) {
        guard let event = sandbox.nextEvent else { return }
        nextEvent = min(nextEvent ?? event, event)
    }

    /// Lets happen what happens by itself until `now`, in order of time.
    package mutating func settle(at now: Duration) {
        while let next = nextEvent, next <= now {
            var due: [(at: Duration, number: Int)] = []
            for number in liveNumbers {
                if let at = sandboxes[number]?.nextEvent, at <= now { due.append((at, number)) }
            }
            for (_, number) in due.sorted(by: { $0 < $1 }) { change(number) { $0.happen() } }
            nextEvent = liveNumbers.compactMap { sandboxes[$0]?.nextEvent }.min()
        }
    }

    /// Those that live and pass, by number.
    package func live(where passes: (Sandbox) -> Bool) -> [Sandbox] {
        liveNumbers.sorted().compactMap { sandboxes[$0] }.filter(passes)
    }

    /// At most `limit` known sandboxes that pass, numbers above `number` in rising order.
    package func list(
        after number: Int, limit: Int, where passes: (Sandbox) -> Bool = { _ in true }
    ) -> [Sandbox] {
        var (low, high) = (0, order.count)
        while low < high {
            let middle = (low + high) / 2
            if order[middle] <= number { low = middle + 1 } else { high = middle }
        }
        var found: [Sandbox] = []
        for number in order[low...] {
            guard found.count < limit else { break }
            if let sandbox = sandboxes[number], passes(sandbox) { found.append(sandbox) }
        }
        return found
    }

    /// What sandboxes have run in all until `now`, the live ones too.
    package func ran(until now: Duration) -> Duration {
        liveNumbers.reduce(totals.endedRan) { sum, number in
            sum + (sandboxes[number]?.ran(until: now) ?? .zero)
        }
    }
}

extension Sandbox {
    package var team: Inventory.Team { Inventory.Team(region: region, keyID: keyID) }

    /// Its next event, at its own time and not when somebody looked.
    fileprivate mutating func happen() {
        guard let event = nextEvent else { return }
        if event == vanishesAt {
            end = .vanished
            stop(.ended, at: event)
        } else if pausesAtTimeout {
            pauses += 1
            stop(.paused, at: event)
        } else {
            end = .timeout
            stop(.ended, at: event)
        }
    }
}
