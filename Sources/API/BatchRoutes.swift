internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON

/// Many records or acquisitions in one call: answered in order, each for itself.
struct BatchRoutes {
    /// Items of one call.
    static let maxItems = 1_000

    let endpoint: Endpoint

    var all: [Route] {
        [
            route("/v1/requests/batch", "recordRequestBatch") { bytes, key throws(JSONError) in
                try JSONReader.decode(RecordInput.self, from: bytes).ask(idempotency: key)
            },
            route("/v1/rate-limits/acquire/batch", "acquireBatch") { bytes, key throws(JSONError) in
                try JSONReader.decode(AcquireInput.self, from: bytes).ask(idempotency: key)
            },
        ]
    }

    private func route(
        _ path: RoutePattern, _ operationID: String,
        _ read:
            @escaping @Sendable (
                _ item: [UInt8], _ idempotency: Idempotency?
            ) throws(JSONError) -> Ask
    ) -> Route {
        let services = endpoint.services
        return endpoint.route(
            .post, path, operationID, .record, maxBodyBytes: services.settings.maxBatchBodyBytes
        ) { call throws(Failure) in
            let items = try call.body(BatchInput.self).items
            let idempotency = try call.idempotency()
            // What fills the ledger's queue is the items: they take places too.
            call.caller.load.add(items.count - 1)
            defer { call.caller.load.leave(items.count - 1) }
            let results = await withTaskGroup(of: (Int, [UInt8]).self) { group in
                for (index, item) in items.enumerated() {
                    // Each item of a repeated call finds its own earlier answer.
                    let key = idempotency?.item(index, body: item)
                    group.addTask(executorPreference: services.ledger.loop) {
                        do throws(JSONError) {
                            let ask = try read(item, key)
                            return (index, await answer(ask, call, services))
                        } catch {
                            return (index, failed(Problem(error), call))
                        }
                    }
                }
                var results = [[UInt8]](repeating: [], count: items.count)
                for await (index, result) in group { results[index] = result }
                return results
            }
            return .json(
                encoded { json in
                    json.array("results") { writer in for result in results { writer.raw(result) } }
                })
        }
    }
}

/// What the call alone would have been answered, with its status as a member.
private func answer(_ ask: Ask, _ call: Call, _ services: Services) async -> [UInt8] {
    do throws(ControlPlaneError) {
        let verdict = try await services.ledger.decide(ask, for: call.caller.tenant)
        if !ask.isLimited {
            return encoded { json in
                json.member("status", 201)
                write(recorded: ask, verdict, to: &json)
            }
        }
        guard verdict.isAdmitted else { return failed(denial(ask, verdict), call) }
        return encoded { json in
            json.member("status", 200)
            write(acquired: ask, verdict, to: &json)
        }
    } catch {
        return failed(Problem(error, retryAfter: services.settings.storeRetryAfter), call)
    }
}

private func failed(_ problem: Problem, _ call: Call) -> [UInt8] { problem.json(call.request.id) }

/// `{"requests": [...]}`, the items as they stand: one that is wrong harms no other.
private struct BatchInput: JSONReadable {
    let items: [[UInt8]]

    init(from reader: inout JSONReader) throws(JSONError) {
        var items: [[UInt8]]?
        try reader.readObject { key, reader throws(JSONError) in
            guard key == "requests" else { throw reader.unknownField(key) }
            var all: [[UInt8]] = []
            try reader.readArray(maxCount: BatchRoutes.maxItems) { _, reader throws(JSONError) in
                all.append(try reader.readEncoded())
            }
            if all.isEmpty { throw reader.failure(.count, "must have at least one request") }
            items = all
        }
        self.items = try reader.require(items, "requests")
    }
}
