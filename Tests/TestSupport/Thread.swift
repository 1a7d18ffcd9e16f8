import Foundation

/// Runs blocking code on a thread of its own. The tests' shared pool has as many threads as cores:
/// two tests that block there would wait for each other for good.
package func onThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
        Thread.detachNewThread { continuation.resume(with: Result(catching: body)) }
    }
}
