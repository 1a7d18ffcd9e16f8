import API
import ControlPlane

extension Settings {
    /// How events are stored and followed.
    static let eventTable: [Setting] = [
        .duration(
            "events.retentionS", \.cleanup.eventRetention, 3600...315_360_000,
            "how long events are kept"),
        .duration(
            "events.flushMs", \.eventWriter.flush, 10...60_000,
            "how long an event waits for others before it is stored"),
        .int("events.batch", \.eventWriter.batch, 1...10_000, "events of one statement"),
        .int(
            "events.buffer", \.eventWriter.capacity, 1...1_000_000,
            "events that wait to be stored; past it the oldest give way"),
        .duration(
            "events.pollMs", \.events.poll, 50...60_000,
            "how often a stream's new events are looked for"),
        .int(
            "events.queue", \.events.queue, 1...100_000,
            "events that wait for one stream's client; past it the stream ends"),
        .duration(
            "events.heartbeatS", \.api.eventHeartbeat, 1...3600,
            "how often a stream that has nothing to say says so"),
        .int(
            "events.maxStreams", \.events.maxListeners, 0...100_000,
            "streams of an instance; past it 503"),
        .int(
            "events.maxStreamsPerTenant", \.events.maxListenersPerTenant, 0...100_000,
            "streams of one tenant, or of all operators, on an instance; past it 429"),
    ]
}
