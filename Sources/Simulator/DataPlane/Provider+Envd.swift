package import HTTP
import IO
import JSON

// The agent inside a sandbox, and the edge in front of it.
extension Provider {
    /// What the edge says when a sandbox cannot be reached.
    private enum EdgeError: Error {
        case notFound(String)
        case portClosed(String)

        var response: Response {
            var writer = JSONWriter()
            writer.object { json in
                switch self {
                case .notFound(let id):
                    json.member("sandboxId", id)
                    json.member("message", "The sandbox was not found")
                case .portClosed(let id):
                    json.member("sandboxId", id)
                    json.member("message", "The sandbox is running but port is not open")
                    json.member("port", 49_983)
                }
                json.member("code", 502)
            }
            return .json(writer.bytes, status: 502)
        }
    }

    /// Whether a request is for a sandbox and not for the control plane. Where both have a path, the
    /// headers or the host decide; elsewhere the path does, since old SDKs send those headers to both.
    package nonisolated static func isForSandbox(_ request: Request) -> Bool {
        request.header("E2b-Sandbox-Id") != nil || sandboxID(inHost: request) != nil
    }

    /// `49983-<id>.<domain>`.
    private nonisolated static func sandboxID(inHost request: Request) -> String? {
        let label = request.header(.host)?.prefix { $0 != "." && $0 != ":" } ?? ""
        let parts = label.split(separator: "-")
        guard parts.count == 2, UInt16(parts[0]) != nil else { return nil }
        return String(parts[1])
    }

    /// By header, by host, or, since SDK 2.20 sends neither after a connect, by its token alone.
    private func named(by request: Request) -> (id: String, sandbox: Sandbox?) {
        if let id = request.header("E2b-Sandbox-Id") ?? Self.sandboxID(inHost: request) {
            let short = String(id.prefix { $0 != "-" }.prefix(100))
            return (short, inventory[short])
        }
        guard let token = request.header("X-Access-Token"),
            let sandbox = inventory.withToken(token)
        else { return ("", nil) }
        return (sandbox.id, sandbox)
    }

    /// `GET /health`: 204 as long as the agent answers.
    package func health(_ request: Request, region index: Int) async -> Response {
        await serveSandbox(request, region: index, .health) { _ in Response(.noContent) }
    }

    /// `POST /process.Process/Start`.
    package func startProcess(_ request: Request, region index: Int) async -> Response {
        await serveSandbox(request, region: index, .command) { sandbox in
            self.start(request, in: sandbox)
        }
    }

    /// Everything else that envd has and the simulator has not.
    package func unimplemented(_ request: Request, region index: Int) async -> Response {
        await serveSandbox(request, region: index, .command) { _ in
            .rpcError(501, "unimplemented", "the simulator does not have \(request.path)")
        }
    }

    private func serveSandbox(
        _ request: Request, region index: Int, _ operation: Operation,
        _ work: (Sandbox) -> Response
    ) async -> Response {
        let (id, sandbox) = named(by: request)
        let regionName = sandbox?.region ?? script.regions[index].name
        let region = script.regions.first { $0.name == regionName } ?? script.regions[index]
        var call = CallRecord(
            at: settledNow(), region: region.name, operation: operation,
            method: request.method.description, path: String(request.path.prefix(200)))
        call.sandboxID = id.isEmpty ? nil : id
        call.keyID = sandbox?.keyID
        call.template = sandbox?.template
        let injection = injection(call)
        call.injected = injection.names
        do throws(IOError) {
            try await delay(operation, region, injection)
        } catch {
            return .rpcError(503, "unavailable", "the simulator is stopping")
        }
        _ = settledNow()
        var response = Response(.noContent)
        if injection.answer?.isApplied ?? true {
            do throws(EdgeError) {
                let sandbox = try reachable(id)
                response = work(sandbox)
                call.isApplied = response.status.code < 300
            } catch {
                response = error.response
            }
        }
        return await deliver(response, injection, call)
    }

    private func reachable(_ id: String) throws(EdgeError) -> Sandbox {
        guard let sandbox = inventory[id], sandbox.state == .running else { throw .notFound(id) }
        if sandbox.zombie == .portClosed { throw .portClosed(id) }
        return sandbox
    }

    /// Whether it still runs, to a command in it.
    func isRunning(_ number: Int) -> Bool {
        _ = settledNow()
        return inventory[number: number]?.state == .running
    }
}

extension Response {
    /// An error of the Connect protocol before its stream has begun.
    static func rpcError(_ status: Int, _ code: String, _ message: String) -> Response {
        var writer = JSONWriter()
        writer.object { json in
            json.member("code", code)
            json.member("message", message)
        }
        return .json(writer.bytes, status: Status(status))
    }
}
