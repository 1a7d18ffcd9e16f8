import Hummingbird
import NIOPosix

/// The two calls as Hummingbird's users write them: `Codable`, Foundation's JSON.
/// `HummingbirdServer PORT [THREADS]`; without a number of threads as many as Hummingbird takes itself.
@main
struct HummingbirdServer {
    static func main() async throws {
        let arguments = CommandLine.arguments.dropFirst().compactMap { Int($0) }
        guard let port = arguments.first else {
            print("usage: HummingbirdServer PORT [THREADS]")
            return
        }
        let router = Router()
        router.get("check") { _, _ in CheckAnswer(count: 45, limit: 100) }
        router.post("acquire") { request, context in
            AcquireAnswer(try await request.decode(as: AcquireInput.self, context: context))
        }
        let group = arguments.dropFirst().first.map {
            MultiThreadedEventLoopGroup(numberOfThreads: $0)
        }
        let app = Application(
            router: router,
            configuration: .init(address: .hostname("127.0.0.1", port: port)),
            eventLoopGroupProvider: group.map { .shared($0) } ?? .singleton)
        try await app.runService()
    }
}

struct CheckAnswer: ResponseEncodable {
    let count: Int
    let limit: Int
    let exceeded: Bool
    let remaining: Int

    init(count: Int, limit: Int) {
        self.count = count
        self.limit = limit
        exceeded = count >= limit
        remaining = max(0, limit - count)
    }
}

struct AcquireInput: Decodable {
    let operation: String
    let cost: Int
    let maxPerHour: Int
    let tenant: String
    let shadow: Bool
}

struct AcquireAnswer: ResponseEncodable {
    let operation: String
    let cost: Int
    let remaining: Int
    let allowed: Bool

    init(_ input: AcquireInput) {
        operation = input.operation
        cost = input.cost
        remaining = input.maxPerHour - input.cost
        allowed = !input.shadow && input.cost <= input.maxPerHour
    }
}
