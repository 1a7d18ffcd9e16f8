import HTTP
import IO
import Synchronization
import TestSupport
import Testing

@Suite(.proves("H3")) struct `A streamed answer` {
    /// Ends of the streams that a test started.
    private final class Ends: Sendable {
        let all = Mutex<[String]>([])
        func append(_ end: String) { all.withLock { $0.append(end) } }
        var list: [String] { all.withLock { $0 } }
    }

    private func routes(_ ends: Ends) -> [Route] {
        [
            Route(.get, "/count", "count") { _ in
                Response(
                    contentType: .eventStream,
                    body: .stream { writer in
                        for index in 0..<3 { try await writer.write("data: \(index)\n\n") }
                        try await writer.write("")
                    })
            },
            Route(.get, "/forever", "forever") { _ in
                Response(
                    contentType: .eventStream,
                    body: .stream { writer in
                        do {
                            try await writer.write("data: hello\n\n")
                            while true {
                                try await Task.sleep(for: .seconds(15))
                                try await writer.write(":\n\n")
                            }
                        } catch {
                            ends.append("\(error)")
                            throw error
                        }
                    })
            },
            Route(.get, "/flood", "flood") { _ in
                Response(
                    contentType: .eventStream,
                    body: .stream { writer in
                        let piece = [UInt8](repeating: 0x61, count: 10_000)
                        do {
                            while true { try await writer.write(piece) }
                        } catch {
                            ends.append("\(error)")
                            throw error
                        }
                    })
            },
            Route(.get, "/broken", "broken") { _ in
                Response(
                    contentType: .text,
                    body: .stream { writer in
                        try await writer.write("half")
                        throw CancellationError()
                    })
            },
        ]
    }

    @Test func `comes in chunks and ends`() async throws {
        try await withServer(routes(Ends())) { address, _ in
            let client = try RawClient(address)
            try client.send("GET /count HTTP/1.1\r\nHost: a\r\n\r\n")
            let response = try client.response()
            #expect(response.field("Transfer-Encoding") == "chunked")
            #expect(response.field("Content-Length") == nil)
            #expect(response.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n")
            #expect(client.isClosed())
        }
    }

    @Test func `comes bare to HTTP/1.0 and not at all to HEAD`() async throws {
        try await withServer(routes(Ends())) { address, _ in
            let old = try RawClient(address)
            try old.send("GET /count HTTP/1.0\r\n\r\n")
            let response = try old.response()
            #expect(response.field("Transfer-Encoding") == nil)
            #expect(response.text == "data: 0\n\ndata: 1\n\ndata: 2\n\n")
            let head = try RawClient(address)
            try head.send("HEAD /count HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try head.response(toHead: true).field("Transfer-Encoding") == "chunked")
        }
    }

    @Test func `ends when the client leaves`() async throws {
        let ends = Ends()
        let recorder = Recorder()
        try await withServer(routes(ends), observer: recorder) { address, server in
            var client: RawClient? = try RawClient(address)
            try client?.send("GET /forever HTTP/1.1\r\nHost: a\r\n\r\n")
            // of "data: hello"'s chunk size
            while try client?.bytes(1).first != UInt8(ascii: "0") {}
            client = nil
            while await server.connectionCount > 0 { await Task.yield() }
        }
        #expect(ends.list == ["CancellationError()"])
        #expect(recorder.ends == [.clientGone])
    }

    @Test func `is no loss when the client leaves between requests`() async throws {
        let recorder = Recorder()
        try await withServer(routes(Ends()), observer: recorder) { address, server in
            var client: RawClient? = try RawClient(address)
            try client?.send("HEAD /count HTTP/1.1\r\nHost: a\r\n\r\n")
            _ = try client?.response(toHead: true)
            client = nil
            while await server.connectionCount > 0 { await Task.yield() }
        }
        #expect(recorder.ends == [.finished])
    }

    @Test func `ends soundly when the server drains`() async throws {
        let ends = Ends()
        try await withServer(routes(ends)) { address, server in
            let client = try RawClient(address)
            try client.send("GET /forever HTTP/1.1\r\nHost: a\r\n\r\n")
            while await server.connectionCount == 0 { await Task.yield() }
            try await Task.sleep(for: .milliseconds(50))
            await server.drain(within: .seconds(5))
            #expect(try client.response().text == "data: hello\n\n")
            #expect(client.isClosed())
        }
        #expect(ends.list == ["CancellationError()"])
    }

    @Test func `is held back by a client that does not read, and given up`() async throws {
        let ends = Ends()
        var deadlines = HTTPDeadlines()
        deadlines.writeStall = .milliseconds(200)
        deadlines.writeRate = 1_000_000
        try await withServer(routes(ends), deadlines: deadlines) { address, server in
            let client = try RawClient(address, receiveBuffer: 4096)
            try client.send("GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
            while ends.list.isEmpty { try await Task.sleep(for: .milliseconds(5)) }
            _ = client
        }
        #expect(ends.list == ["clientGone"])
    }

    @Test func `is cut off when it fails, so that the client notices`() async throws {
        try await withServer(routes(Ends())) { address, _ in
            let client = try RawClient(address)
            try client.send("GET /broken HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(throws: RawClient.Failure.self) { try client.response() }
        }
    }
}
