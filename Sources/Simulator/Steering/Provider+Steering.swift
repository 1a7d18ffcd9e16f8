package import HTTP
import IO
import JSON

// `/_sim`: what a test asks of the simulator itself, and tells it.
extension Provider {
    package func summary() -> Response {
        let now = settledNow()
        var writer = JSONWriter()
        writer.object { json in
            json.member("startedAt", clock.text(.zero))
            json.member("nowMs", now.milliseconds)
            json.member("scriptStartMs", scriptStart.milliseconds)
            json.member("seed", script.seed)
            json.member("calls", book.count)
            json.object("byRegion") { json in
                for (region, operations) in book.counts.sorted(by: { $0.key < $1.key }) {
                    json.object(region) { json in
                        for (operation, outcomes) in operations.sorted(by: { $0.key < $1.key }) {
                            json.member(operation, counts: outcomes)
                        }
                    }
                }
            }
            json.object("sandboxes") { json in
                json.member("created", inventory.totals.created)
                json.member("running", inventory.running)
                json.member("paused", inventory.live - inventory.running)
                json.member("ended", counts: inventory.totals.byEnd)
                json.member("ranMs", inventory.ran(until: now).milliseconds)
            }
            json.array("faults") { json in
                for (name, count) in faults.hits {
                    json.object { json in
                        json.member("name", name)
                        json.member("hits", count)
                    }
                }
            }
        }
        return .json(writer.bytes)
    }

    package func calls(_ request: Request) -> Response {
        do throws(ProviderError) {
            let (after, limit) = try Self.page(request)
            let calls = book.calls(after: after, limit: limit)
            var writer = JSONWriter(capacity: 400 * calls.count + 64)
            writer.object { json in
                json.member("calls", calls)
                let next = calls.last?.number ?? after
                json.member("nextAfter", next)
                json.member("more", next < book.count)
                // Whoever reads too slowly sees here that some were forgotten.
                json.member("oldest", book.oldest)
            }
            return .json(writer.bytes)
        } catch {
            return Answer(error).response
        }
    }

    package func sandboxes(_ request: Request) -> Response {
        do throws(ProviderError) {
            let (after, limit) = try Self.page(request)
            let wanted = request.query("state") ?? "all"
            guard ["all", "live", "ended"].contains(wanted) else {
                throw ProviderError(400, "state: expected all, live or ended")
            }
            let now = settledNow()
            let found = inventory.list(after: after, limit: limit) { sandbox in
                wanted == "all" || (sandbox.state == .ended) == (wanted == "ended")
            }
            var writer = JSONWriter(capacity: 400 * found.count + 64)
            writer.object { json in
                json.array("sandboxes") { json in
                    for sandbox in found { sandbox.writeLife(to: &json, now: now) }
                }
                json.member("nextAfter", found.last?.number ?? after)
                json.member("more", found.count == limit)
            }
            return .json(writer.bytes)
        } catch {
            return Answer(error).response
        }
    }

    /// Sandboxes that share a value of one metadata name: creations that were done twice.
    package func duplicates(_ request: Request) -> Response {
        guard let name = request.query("by"), !name.isEmpty else {
            return Answer(ProviderError(400, "by: expected the name of a metadata member")).response
        }
        var idsByValue: [String: [String]] = [:]
        for sandbox in inventory.list(after: 0, limit: .max) {
            guard let value = sandbox.metadata.first(where: { $0.name == name })?.value else {
                continue
            }
            idsByValue[value, default: []].append(sandbox.id)
        }
        let repeated = idsByValue.filter { $0.value.count > 1 }.sorted { $0.key < $1.key }
        var writer = JSONWriter()
        writer.object { json in
            json.member("values", idsByValue.count)
            json.member("sandboxes", idsByValue.values.reduce(0) { $0 + $1.count })
            json.member("repeated", repeated.count)
            json.array("examples") { json in
                for (value, ids) in repeated.prefix(100) {
                    json.object { json in
                        json.member("value", value)
                        json.member("sandboxIDs", ids)
                    }
                }
            }
        }
        return .json(writer.bytes)
    }

    package func currentScript() -> Response { .json(scriptText) }

    package func putScript(_ request: Request) -> Response {
        do throws(JSONError) {
            let script = try JSONReader.decode(Script.self, from: request.body)
            do throws(ScriptChange) {
                try put(script, text: request.body)
                return Response(.noContent)
            } catch {
                return Self.refusal(error.pointer, error.message)
            }
        } catch {
            return Self.refusal(error.pointer, error.message)
        }
    }

    package func moveClock(_ request: Request) -> Response {
        struct Move: JSONReadable {
            var length = 0

            init(from reader: inout JSONReader) throws(JSONError) {
                var given: Int?
                try reader.readObject { key, reader throws(JSONError) in
                    guard key == "advanceMs" else { throw reader.unknownField(key) }
                    given = try reader.readInt(in: 0...604_800_000)
                }
                length = try reader.require(given, "advanceMs")
            }
        }
        do throws(JSONError) {
            let move = try JSONReader.decode(Move.self, from: request.body)
            let now = advance(by: .milliseconds(move.length))
            var writer = JSONWriter()
            writer.object { $0.member("nowMs", now.milliseconds) }
            return .json(writer.bytes)
        } catch {
            return Self.refusal(error.pointer, error.message)
        }
    }

    package func resetAll() -> Response {
        reset()
        return Response(.noContent)
    }

    private static func refusal(_ pointer: String, _ message: String) -> Response {
        var writer = JSONWriter()
        writer.object { json in
            json.member("code", 400)
            json.member("message", message)
            json.member("pointer", pointer)
        }
        return .json(writer.bytes, status: 400)
    }

    private static func page(
        _ request: Request
    ) throws(ProviderError) -> (after: Int, limit: Int) {
        guard let after = Int(request.query("after") ?? "0"), after >= 0 else {
            throw ProviderError(400, "after: expected a number of the page before")
        }
        guard let limit = Int(request.query("limit") ?? "1000"), (1...5000).contains(limit) else {
            throw ProviderError(400, "limit: expected 1 to 5000")
        }
        return (after, limit)
    }
}
