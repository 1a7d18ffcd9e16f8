internal import IO

package struct InVain: Error {
    let waited: Duration
}

/// Asks until it is so; answers how long that took.
///
/// - Throws: `InVain` when it is not so after `limit`, which is for what hangs: far more than a busy
///   machine takes.
@discardableResult
package func eventually(
    within limit: Duration = .seconds(20), _ isSo: () async throws -> Bool
) async throws -> Duration {
    let start = MonotonicInstant.now
    while try await !isSo() {
        if start.duration(to: .now) > limit { throw InVain(waited: limit) }
        try await Task.sleep(for: .milliseconds(2))
    }
    return start.duration(to: .now)
}
