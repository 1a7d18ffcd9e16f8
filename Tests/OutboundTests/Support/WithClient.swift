import Glibc
import IO
import Outbound
import TestSupport

/// Runs `body` with a client on a loop of its own, which may reach loopback.
func withClient(
    _ change: (inout HTTPClient.Settings) -> Void = { _ in },
    _ body: @Sendable (HTTPClient) async throws -> Void
) async throws {
    _ = signal(SIGPIPE, SIG_IGN)
    var settings = HTTPClient.Settings()
    settings.addresses = AddressRule(allowsPrivate: true)
    change(&settings)
    try await withLoop { loop in
        let client = try HTTPClient(on: loop, settings)
        let outcome: Result<Void, any Error>
        do { outcome = .success(try await body(client)) } catch { outcome = .failure(error) }
        await client.close()
        // The last reference goes, and with it libcurl's connections, before the loop does.
        try outcome.get()
    }
}

extension HTTPClient.Request {
    /// A request of a test, to a URL that is sound.
    static func get(_ url: String, deadline: Duration = .seconds(20)) throws -> Self {
        Self("GET", try sound(url), deadline: deadline)
    }

    static func post(
        _ url: String, _ body: String = "{}", deadline: Duration = .seconds(20)
    ) throws -> Self {
        Self("POST", try sound(url), body: Array(body.utf8), deadline: deadline)
    }

    static func sound(_ url: String) throws -> UpstreamURL {
        guard let url = UpstreamURL(url) else { throw Trouble("no URL: \(url)") }
        return url
    }
}

extension HTTPClient {
    /// The body of an answer to a call without one, and its status.
    nonisolated func text(_ method: String, _ url: String) async throws -> String {
        let request = Request(method, try Request.sound(url))
        return String(decoding: try await send(request).body, as: UTF8.self)
    }

    nonisolated func status(_ method: String, _ url: String) async throws -> Int {
        try await send(Request(method, try Request.sound(url))).status
    }

    /// The failure of a call that must fail.
    nonisolated func failure(of request: Request) async -> Failure {
        do throws(Failure) {
            let response = try await send(request)
            return Failure(.body, .invalid, "answered \(response.status)")
        } catch {
            return error
        }
    }
}

/// How long the thread of a loop has worked.
actor LoopClock: LoopBound {
    nonisolated let loop: EventLoop

    init(of loop: EventLoop) { self.loop = loop }

    var worked: Duration { threadTime() }
}

/// How long this thread has worked.
func threadTime() -> Duration {
    var time = timespec()
    unsafe clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return .seconds(time.tv_sec) + .nanoseconds(time.tv_nsec)
}
