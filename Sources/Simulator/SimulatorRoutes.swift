package import HTTP
import JSON

extension Provider {
    /// What one region's addresses serve: its control plane, every region's sandboxes, and `/_sim`.
    package nonisolated func routes(region: Int) throws(Routes.Fault) -> Routes {
        var routes: [Route] = []
        for (method, pattern, endpoint) in Endpoint.paths {
            routes.append(
                Route(method, pattern, "\(method) \(pattern.text)", maxBodyBytes: 65_536) {
                    await self.serve($0, region: region, endpoint)
                })
        }
        routes += sandboxRoutes(region)
        routes += steeringRoutes
        return try Routes(routes) { request, response in
            // What the HTTP layer refuses by itself, in the provider's form.
            guard response.contentType?.description == ContentType.problem.description else {
                return
            }
            let status = Int(response.status.code)
            response.contentType = .json
            response.body = .bytes(
                ProviderError(status, Self.words(of: response) ?? "Error \(status)").json)
        }
    }

    private nonisolated func sandboxRoutes(_ region: Int) -> [Route] {
        let unknown: Handler = { request in
            Provider.isForSandbox(request)
                ? await self.unimplemented(request, region: region)
                : await self.serve(request, region: region, .unknown)
        }
        let others: [HTTP.Method] = [.get, .post, .put, .patch, .delete]
        return [
            Route(.get, "/health", "health") { request in
                guard Provider.isForSandbox(request) else {
                    return .text("Health check successful")
                }
                return await self.health(request, region: region)
            },
            Route(.post, "/process.Process/Start", "start", maxBodyBytes: 1 << 20) {
                await self.startProcess($0, region: region)
            },
            Route(.post, "/process.Process/{method}", "rpc") {
                await self.unimplemented($0, region: region)
            },
        ]
            + others.map { Route($0, "/{rest...}", "unknown \($0)", handler: unknown) }
    }

    private nonisolated var steeringRoutes: [Route] {
        [
            Route(.get, "/_sim", "summary") { _ in await self.summary() },
            Route(.get, "/_sim/book", "book") { await self.calls($0) },
            Route(.get, "/_sim/sandboxes", "lives") { await self.sandboxes($0) },
            Route(.get, "/_sim/duplicates", "duplicates") { await self.duplicates($0) },
            Route(.get, "/_sim/script", "script") { _ in await self.currentScript() },
            Route(.put, "/_sim/script", "putScript", maxBodyBytes: 1 << 20) {
                await self.putScript($0)
            },
            Route(.post, "/_sim/clock", "clock") { await self.moveClock($0) },
            Route(.post, "/_sim/reset", "reset") { _ in await self.resetAll() },
        ]
    }

    private static func words(of response: Response) -> String? {
        guard case .bytes(let bytes) = response.body,
            let problem = try? JSONReader.decode(JSONValue.self, from: bytes),
            case .string(let text)? = problem["detail"] ?? problem["title"]
        else { return nil }
        return text
    }
}
