import IO
import Outbound
import Synchronization
import TestSupport
import Testing

@Suite(.timeLimit(.minutes(3)), .serialized) struct `TLS to an upstream` {
    @Test(.proves("H1")) func `is refused unless the certificate is right in every way`()
        async throws
    {
        try await TLSServer.with { server in
            try await withClient {
                $0.caFile = server.caFile
            } _: { client in
                let response = try await client.send(.get(server.url(.good)))
                #expect(response.status == 200)
                for (certificate, kind) in [
                    (TLSServer.Certificate.otherHost, HTTPClient.Kind.wrongHost),
                    (.expired, .expired), (.selfSigned, .untrusted),
                ] {
                    let failure = try await client.failure(of: .post(server.url(certificate)))
                    #expect(failure.kind == kind, "\(failure)")
                    #expect(failure.phase == .tls)
                    #expect(!failure.mayHaveBeenApplied)
                }
                // Good for the name and the address that it names, not for another name of both.
                #expect(try await client.status("GET", server.url(.good, host: "127.0.0.1")) == 200)
                Names.rebindAnswers.withLock { $0 = ["127.0.0.1"] }
                let other = try await client.failure(
                    of: .get(server.url(.good, host: "rebind.test")))
                #expect(other.kind == .wrongHost)
            }
            // Without the setting our CA is nobody's.
            try await withClient { client in
                let failure = try await client.failure(of: .get(server.url(.good)))
                #expect(failure.kind == .untrusted)
            }
        }
    }

    @Test func `takes its loop little time for each connection, for all the CAs of the system`()
        async throws
    {
        try await TLSServer.with { server in
            try await withClient { client in
                let clock = LoopClock(of: client.loop)
                let request = try HTTPClient.Request.post(server.url(.good))
                _ = await client.failure(of: request)
                let before = await clock.worked
                for _ in 0..<20 {
                    #expect(await client.failure(of: request).kind == .untrusted)
                }
                // Reading the bundle of all CAs took 17 ms of each.
                let each = (await clock.worked - before) / 20
                #expect(each < .milliseconds(10), "\(each) for each connection")
            }
        }
    }

    @Test func `names the host to the server and speaks HTTP/2 where both do`() async throws {
        try await TLSServer.with { server in
            try await withClient {
                $0.caFile = server.caFile
            } _: { client in
                var answer = try await client.send(.post(server.url(.good)))
                #expect(words(answer).prefix(3) == ["HTTP/2.0", "localhost", "POST"])
                answer = try await client.send(.get(server.url(.http1)))
                #expect(words(answer).prefix(3) == ["HTTP/1.1", "localhost", "GET"])
                // A stream has a connection of its own, over HTTP/1.1, although one of HTTP/2 stands.
                let stream = try await client.open(.get(server.url(.good)))
                let first = try await stream.next() ?? []
                #expect(String(decoding: first, as: UTF8.self).hasPrefix("HTTP/1.1 "))
            }
            try await withClient {
                $0.caFile = server.caFile
                $0.allowsHTTP2 = false
            } _: { client in
                let answer = try await client.send(.get(server.url(.good)))
                #expect(words(answer).first == "HTTP/1.1")
            }
        }
    }

    @Test func `carries many HTTP/2 calls on few connections, bodies both ways`() async throws {
        try await TLSServer.with { server in
            try await withClient {
                $0.caFile = server.caFile
                $0.connectionsPerHost = 4
            } _: { client in
                let large = try HTTPClient.Request.get(server.url(.good) + "large")
                var upload = try HTTPClient.Request.post(server.url(.good) + "read")
                upload.body = [UInt8](repeating: 7, count: 300_000)
                let body = upload
                let used = try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<60 {
                        group.addTask(executorPreference: client.loop) {
                            if number % 2 == 0 {
                                let answer = try await client.send(body)
                                #expect(answer.status == 200)
                                return
                            }
                            let answer = try await client.send(large)
                            #expect(answer.body.count == 3_000_000)
                        }
                    }
                    return try await group.reduce(into: 0) { count, _ in count += 1 }
                }
                #expect(used == 60)
                let counters = await client.counters
                #expect(counters.connections <= 4)
                #expect(counters.reuses == 60 - counters.connections)
                #expect(counters.calls == [.init(kind: nil, phase: nil): 60])
            }
        }
    }

    @Test func `with a port that speaks something else fails in that phase`() async throws {
        let server = try RawServer { peer, number in
            if number == 1 {
                peer.send("HTTP/1.1 400 Bad Request\r\n\r\n")
                _ = peer.waitForEnd()
            } else {
                peer.readSome()
                peer.reset()
            }
        }
        defer { server.stop() }
        try await withClient { client in
            for kind in [HTTPClient.Kind.tls, .reset] {
                let failure = try await client.failure(
                    of: .post("https://127.0.0.1:\(server.port)/"))
                #expect(failure.kind == kind, "\(failure)")
                #expect(failure.phase == .tls)
                #expect(!failure.mayHaveBeenApplied)
            }
        }
    }

    @Test func `that hangs in the handshake ends by the time for connecting`() async throws {
        let server = try RawServer { peer, _ in _ = peer.waitForEnd() }
        defer { server.stop() }
        try await withClient {
            $0.connectTimeout = .milliseconds(200)
        } _: { client in
            let failure = try await client.failure(of: .post("https://127.0.0.1:\(server.port)/"))
            #expect(failure.kind == .timedOut)
            #expect(failure.phase == .tls)
        }
    }

    private func words(_ response: HTTPClient.Response) -> [String] {
        String(decoding: response.body, as: UTF8.self).split(separator: " ").map { String($0) }
    }
}
