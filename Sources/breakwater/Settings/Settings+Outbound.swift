import ControlPlane
import Outbound

extension Settings {
    /// Calls to providers and webhooks, and the budgets of accounts there.
    static let outboundTable: [Setting] = [
        .bool(
            "outbound.allowPrivate", \.outbound.addresses.allowsPrivate,
            "let provider and webhook URLs reach loopback and private addresses"),
        .duration(
            "outbound.deadlineS", \.outbound.deadline, 1...3600,
            "longest for a whole call that names no deadline of its own"),
        .duration(
            "outbound.connectMs", \.outbound.connectTimeout, 10...60_000,
            "longest for the look-up, connecting and TLS together"),
        .int(
            "outbound.maxCalls", \.outbound.maxCalls, 1...100_000,
            "calls of a loop in hand, those that wait for a connection among them; past it refused"),
        .int(
            "outbound.connectionsPerHost", \.outbound.connectionsPerHost, 1...10_000,
            "connections of a loop to one host; further calls wait"),
        .int(
            "outbound.connections", \.outbound.connections, 1...100_000,
            "connections of a loop in all, kept ones among them; further calls wait"),
        .duration(
            "outbound.idleS", \.outbound.idle, 1...600,
            "a connection that was idle for longer is not used again"),
        .int(
            "outbound.headBytes", \.outbound.headBytes, 1024...1_048_576,
            "longest head of an answer"),
        .int(
            "outbound.bodyBytes", \.outbound.bodyBytes, 1024...1_073_741_824,
            "longest body of an answer where a call does not say else"),
        .int(
            "outbound.streamBufferBytes", \.outbound.streamBufferBytes, 4096...16_777_216,
            "octets of a streamed answer that are held for a slow reader; past it the sender waits"),
        .text(
            "outbound.caFile", \.outbound.caFile,
            "PEM file with CAs that are trusted beside the system's"),
        .bool("outbound.http2", \.outbound.allowsHTTP2, "speak HTTP/2 with servers that offer it"),
        .bool(
            "outbound.environmentProxy", \.outbound.usesEnvironmentProxy,
            "follow http_proxy, https_proxy and no_proxy; then the proxy's address is judged alone"),
        .duration(
            "budget.throttleMs", \.budget.throttle, 0...3_600_000,
            "nobody creates at an account for so long after a 429 that says no time"),
        .duration(
            "budget.maxThrottleS", \.budget.maxThrottle, 1...86_400,
            "longest time that a provider's 429 may say"),
        .duration(
            "budget.placeWaitMs", \.budget.placeWait, 10...60_000,
            "how soon to ask again when an account's places are all taken"),
    ]
}
