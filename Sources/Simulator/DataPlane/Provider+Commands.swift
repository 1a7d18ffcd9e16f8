import HTTP
import IO
import JSON

extension Provider {
    /// Starts a command whose output is streamed, after looking at the token and the envelope.
    func start(_ request: Request, in sandbox: Sandbox) -> Response {
        if let token = sandbox.accessToken, request.header("X-Access-Token") != token {
            return .rpcError(
                401, "unauthenticated",
                "unauthorized access, please provide a valid access token or method signing "
                    + "if supported"
            )
        }
        guard request.hasContentType("application/connect+json") else {
            return Response(415, fields: [Field("Accept-Post", "application/connect+json")])
        }
        guard let message = Envelope.unwrap(request.body),
            let document = try? JSONReader.decode(JSONValue.self, from: message),
            case .string(let program)? = document["process"]?["cmd"]
        else {
            return .rpcError(400, "invalid_argument", "expected one envelope with a StartRequest")
        }
        let command = Command(
            number: sandbox.number, zombie: sandbox.zombie, pid: 1000 + book.count % 30_000,
            shell: Shell(
                Self.line(program, document["process"]),
                environment: Self.environment(document["process"])),
            timeout: request.header("Connect-Timeout-Ms").flatMap { Int($0) }
                .map { .milliseconds(min(max($0, 0), 86_400_000)) },
            keepalive: request.header("Keepalive-Ping-Interval").flatMap { Int($0) }
                .map { .seconds(min(max($0, 1), 600)) } ?? .seconds(90))
        if sandbox.zombie == .resetAtOnce { return Response(body: .abandoned(byReset: true)) }
        return Response(
            contentType: "application/connect+json",
            body: .stream { writer in try await command.run(to: writer, in: self) })
    }

    /// What the shell is to run: `bash -l -c LINE`, or the program and its arguments.
    private static func line(_ program: String, _ process: JSONValue?) -> String {
        var words: [String] = []
        if case .array(let arguments)? = process?["args"] {
            for case .string(let word) in arguments { words.append(word) }
        }
        if let flag = words.firstIndex(where: { $0 == "-c" || $0 == "-lc" }), flag + 1 < words.count
        {
            return words[flag + 1]
        }
        return ([program] + words).joined(separator: " ")
    }

    private static func environment(_ process: JSONValue?) -> [String: String] {
        var environment = ["HOME": "/home/user", "USER": "user"]
        if case .object(let members)? = process?["envs"] {
            for case let member in members {
                if case .string(let value) = member.value { environment[member.name] = value }
            }
        }
        return environment
    }
}

/// A command that runs in a sandbox.
private struct Command: Sendable {
    let number: Int
    let zombie: ZombieMode?
    let pid: Int
    let shell: Shell
    /// Nil: as long as it takes, but no more than an hour of waiting at a time.
    let timeout: Duration?
    let keepalive: Duration

    /// Why it ends before its time.
    private enum Ending: Error {
        case timedOut
        case sandboxGone
    }

    func run(to writer: BodyWriter, in provider: Provider) async throws {
        let deadline = timeout.map { MonotonicInstant.now.advanced(by: $0) }
        do {
            try await send(to: writer, in: provider, deadline)
        } catch Ending.timedOut {
            try await writer.write(
                ProcessEvent.endOfStream(("deadline_exceeded", "context deadline exceeded")))
        } catch Ending.sandboxGone {
            try await writer.write(
                ProcessEvent.endOfStream(
                    (
                        "unavailable",
                        "the connection to the sandbox ended before the stream completed"
                    )))
        }
    }

    private func send(
        to writer: BodyWriter, in provider: Provider, _ deadline: MonotonicInstant?
    ) async throws {
        if zombie == .commandsHang {
            // Not even a start; an hour is longer than any caller's patience.
            try await provider.loop.sleep(for: .seconds(3600))
            throw StreamReset()
        }
        try await writer.write(ProcessEvent.start(pid: pid))
        switch zombie {
        case .streamError?:
            try await writer.write(
                ProcessEvent.endOfStream(("unavailable", "error reading from the process: EOF")))
        case .noEndEvent?:
            try await sendSteps(to: writer, in: provider, deadline)
            try await writer.write(ProcessEvent.endOfStream())
        case .hangMidStream?:
            try await provider.loop.sleep(for: .seconds(3600))
            throw StreamReset()
        case .halfOutput?:
            for case .output(let text) in shell.steps {
                try await writer.write(ProcessEvent.data(String(text.prefix(text.count / 2))))
            }
            try await sendEnd(0, to: writer)
        case .wrongOutput?:
            try await writer.write(ProcessEvent.data("\u{FFFD}\n"))
            try await sendEnd(0, to: writer)
        case .nonZeroExit?:
            try await writer.write(
                ProcessEvent.data("fork: Cannot allocate memory\n", toErrors: true))
            try await sendEnd(254, to: writer)
        case .resetMidStream?:
            // Half an envelope, and time for it to be read.
            try await writer.write([0, 0, 0])
            try await provider.loop.sleep(for: .milliseconds(20))
            throw StreamReset()
        default:
            try await sendSteps(to: writer, in: provider, deadline)
            try await sendEnd(shell.status, to: writer)
        }
    }

    private func sendEnd(_ status: Int, to writer: BodyWriter) async throws {
        try await writer.write(ProcessEvent.end(status: status) + ProcessEvent.endOfStream())
    }

    private func sendSteps(
        to writer: BodyWriter, in provider: Provider, _ deadline: MonotonicInstant?
    ) async throws {
        for step in shell.steps {
            switch step {
            case .output(let text): try await writer.write(ProcessEvent.data(text))
            case .errors(let text):
                try await writer.write(ProcessEvent.data(text, toErrors: true))
            case .wait(let length):
                try await wait(length, to: writer, in: provider, deadline)
            }
        }
    }

    /// Waits in short naps: looks whether the sandbox still runs, says that it is alive.
    private func wait(
        _ length: Duration, to writer: BodyWriter, in provider: Provider,
        _ deadline: MonotonicInstant?
    ) async throws {
        let end = MonotonicInstant.now.advanced(by: length)
        var nextKeepalive = MonotonicInstant.now.advanced(by: keepalive)
        while true {
            let now = MonotonicInstant.now
            if now >= end { return }
            if let deadline, now >= deadline { throw Ending.timedOut }
            guard await provider.isRunning(number) else { throw Ending.sandboxGone }
            if now >= nextKeepalive {
                try await writer.write(ProcessEvent.keepalive)
                nextKeepalive = now.advanced(by: keepalive)
            }
            let wake = min(end, deadline ?? end)
            let nap = min(now.duration(to: wake), .milliseconds(100))
            try await provider.loop.sleep(for: max(nap, .milliseconds(1)))
        }
    }
}
