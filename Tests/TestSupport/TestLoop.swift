package import IO

/// Gives `body` an event loop of its own and stops it afterwards.
package func withLoop<Answer>(
    _ body: (EventLoop) async throws -> Answer
) async throws -> Answer {
    let loop = try EventLoop.start(name: "test")
    let outcome: Result<Answer, any Error>
    do { outcome = .success(try await body(loop)) } catch { outcome = .failure(error) }
    loop.stop()
    return try outcome.get()
}
