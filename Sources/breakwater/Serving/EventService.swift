import API
import ControlPlane
import IO
import Postgres

/// What brings events to the table and back to those who follow it, over a connection of its own: jobs
/// and requests have other ones, which may be busy.
struct EventService: Sendable {
    let hub: EventHub
    private let writer: EventWriter
    private let buffer: EventBuffer
    private let pipeline: Pipeline
    private let loop: EventLoop

    init(_ settings: Settings, _ database: Database, _ buffer: EventBuffer, on loop: EventLoop) {
        self.loop = loop
        self.buffer = buffer
        let pipeline = Pipeline(on: loop, pipelineSettings(settings, database))
        self.pipeline = pipeline
        let hub = EventHub(on: loop, pipeline: pipeline, settings: settings.events)
        self.hub = hub
        writer = EventWriter(
            on: loop, pipeline: pipeline, buffer: buffer, settings: settings.eventWriter,
            onStored: { hub.hint() })
    }

    /// Works until cancelled.
    func run() async {
        await withDiscardingTaskGroup { group in
            group.addTask(executorPreference: loop) { await pipeline.run() }
            group.addTask(executorPreference: loop) { await hub.run() }
            group.addTask(executorPreference: loop) { await writer.run() }
        }
    }

    /// Stores what was told until now, if the database takes it. Before `run` is cancelled.
    func close() async {
        await writer.finish()
        await pipeline.close()
    }

    func metrics() async -> EventMetrics {
        EventMetrics(
            buffer: buffer.counters, waiting: buffer.count, writer: await writer.counters,
            hub: await hub.counters)
    }
}
