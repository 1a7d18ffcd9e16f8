import HTTP
import IO
import JSON

/// Our HTTP and JSON layers with the two calls that are measured, as `breakwater serve` runs them:
/// `BreakwaterServer PORT [LOOPS]`.
@main
struct BreakwaterServer {
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst().compactMap { UInt16($0) }
        guard let port = arguments.first else {
            print("usage: BreakwaterServer PORT [LOOPS]")
            return
        }
        let routes = try Routes(Self.routes)
        try await withThrowingTaskGroup(of: Void.self) { group in
            for index in 0..<(arguments.dropFirst().first ?? 1) {
                let loop = try EventLoop.start(name: "loop-\(index)")
                let server = Server(
                    on: loop, endpoints: [try Listener.open(.tcp(host: "127.0.0.1", port: port))],
                    routes: routes)
                group.addTask(executorPreference: loop) { try await server.run() }
            }
            try await group.waitForAll()
        }
    }

    static let routes = [
        Route(.get, "/check", "check") { _ throws(Problem) in
            .json(CheckAnswer(count: 45, limit: 100).encoded(capacity: 64))
        },
        Route(.post, "/acquire", "acquire") { request throws(Problem) in
            guard request.hasContentType("application/json") else {
                throw Problem(.unsupportedMediaType)
            }
            do throws(JSONError) {
                let input: AcquireInput = try JSONReader.decode(from: request.body)
                return .json(AcquireAnswer(input).encoded(capacity: 128))
            } catch {
                throw Problem(.malformedJSON, detail: "\(error)")
            }
        },
    ]
}

struct CheckAnswer: JSONWritable {
    let count: Int
    let limit: Int

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.member("count", count)
            $0.member("limit", limit)
            $0.member("exceeded", count >= limit)
            $0.member("remaining", max(0, limit - count))
        }
    }
}

struct AcquireInput: JSONReadable {
    let operation: String
    let cost: Int
    let maxPerHour: Int
    let tenant: String
    let shadow: Bool

    init(from reader: inout JSONReader) throws(JSONError) {
        var operation: String?
        var cost: Int?
        var maxPerHour: Int?
        var tenant: String?
        var shadow: Bool?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "operation": operation = try reader.readString(maxBytes: 64)
            case "cost": cost = try reader.readInt(in: 1...1_000_000)
            case "maxPerHour": maxPerHour = try reader.readInt(in: 1...1_000_000)
            case "tenant": tenant = try reader.readString(maxBytes: 64)
            case "shadow": shadow = try reader.readBool()
            default: throw reader.unknownField(key)
            }
        }
        self.operation = try reader.require(operation, "operation")
        self.cost = try reader.require(cost, "cost")
        self.maxPerHour = try reader.require(maxPerHour, "maxPerHour")
        self.tenant = try reader.require(tenant, "tenant")
        self.shadow = try reader.require(shadow, "shadow")
    }
}

struct AcquireAnswer: JSONWritable {
    let input: AcquireInput

    init(_ input: AcquireInput) { self.input = input }

    func write(to writer: inout JSONWriter) {
        writer.object {
            $0.member("operation", input.operation)
            $0.member("cost", input.cost)
            $0.member("remaining", input.maxPerHour - input.cost)
            $0.member("allowed", !input.shadow && input.cost <= input.maxPerHour)
        }
    }
}
