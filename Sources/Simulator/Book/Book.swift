/// The last calls, and counts of all.
package struct Book: Sendable {
    private var calls: Ring<CallRecord>
    private var last = 0
    /// By region, operation and outcome.
    private(set) var counts: [String: [String: [String: Int]]] = [:]

    package init(keeping limit: Int) { calls = Ring(limit) }

    package mutating func append(_ call: CallRecord) {
        last += 1
        var call = call
        call.number = last
        calls.append(call)
        counts[call.region, default: [:]][
            call.operation.rawValue, default: [:]][call.outcome, default: 0] += 1
    }

    package var count: Int { last }

    /// The number of the oldest call that is still known, 0 if there is none.
    package var oldest: Int { calls.count == 0 ? 0 : last - calls.count + 1 }

    /// At most `limit` calls with numbers above `number`, in order.
    package func calls(after number: Int, limit: Int) -> [CallRecord] {
        let first = max(number + 1, oldest)
        guard calls.count > 0, first <= last else { return [] }
        return (first...min(last, first + limit - 1)).map { calls[$0 - oldest] }
    }
}
