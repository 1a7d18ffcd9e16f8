import API
import ControlPlane

extension Settings {
    /// How sandboxes are made, watched and ended.
    static let sandboxTable: [Setting] = [
        .text(
            "sandbox.defaultTemplate", \.sandboxes.standard.defaultTemplate,
            "takes the place of a template that cannot be had; none if not given"),
        .text(
            "sandbox.defaultFramework", \.sandboxes.standard.defaultFramework,
            "framework of the default template"),
        .choice(
            "sandbox.fallbackOn", \.sandboxes.standard.fallbackRule,
            "when the default template is tried: templateNotFound or anyError"),
        .optionalInt(
            "sandbox.maxLive", \.sandboxes.standard.maxLive, 0...1_000_000,
            "sandboxes that a tenant may have at a time; a tenant may lower it; any number if not given"),
        .duration(
            "sandbox.firstLifeS", \.creations.firstLife, 15...3600,
            "the life that a sandbox is made with; the wanted one is given when its row is bound"),
        .duration(
            "sandbox.createCallS", \.creations.call, 1...600,
            "one call to create a sandbox, at the provider"),
        .int(
            "sandbox.maxInFlight", \.creations.maxInFlight, 1...100_000,
            "creations of a loop in hand; past it refused"),
        .duration(
            "sandbox.actWaitMs", \.sandboxes.actWait, 100...60_000,
            "how long an answer to a kill or a change of life waits for the provider"),
        .choice(
            "health.mode", \.sandboxes.standard.healthCheck,
            "what is done about a sandbox that does not work: off, warn, or replace it before it is handed out"
        ),
        .duration(
            "health.limitMs", \.creations.health.limit, 100...60_000,
            "one health check, with its second try"),
        .duration(
            "health.pauseMs", \.creations.health.pause, 0...10_000,
            "pause before the second try where the first failed at once"),
        .int(
            "health.maxReplacements", \.creations.health.maxReplacements, 0...20,
            "sandboxes of a creation that are killed for not working, before it fails"),
        .int(
            "health.maxInFlight", \.creations.health.maxInFlight, 1...10_000,
            "health checks of a loop in hand; past it left out"),
        .duration(
            "health.sampleIntervalS", \.sample.interval, 5...86_400,
            "pause between two looks at a sample of the sandboxes that run"),
        .int(
            "health.sampleSize", \.sample.size, 0...1000,
            "sandboxes of a sample; 0: none is looked at"),
        .int(
            "probe.perDay", \.probe.perDay, 0...1440,
            "probes a day of each provider's account: a sandbox made, tried and killed; 0: none"),
        Setting(
            name: "probe.template",
            help: "template of a probe; where a region does not have it, one that it has"
        ) { text, settings throws(SettingsError) in
            guard (1...200).contains(text.utf8.count) else {
                throw SettingsError("must be 1 to 200 octets")
            }
            settings.probe.template = text
        } show: {
            $0.probe.template
        },
        .int(
            "gateway.bodyBytes", \.api.maxGatewayBodyBytes, 4096...16_777_216,
            "longest body of a call through the gateway"),
        Setting(
            name: "gateway.frameworkKey",
            help: "metadata of a creation through the gateway that names its framework"
        ) { text, settings throws(SettingsError) in
            guard (1...100).contains(text.utf8.count) else {
                throw SettingsError("must be 1 to 100 octets")
            }
            settings.api.frameworkKey = text
        } show: {
            $0.api.frameworkKey
        },
        .duration(
            "sandbox.taskPollMs", \.sandboxTasks.poll, 50...60_000,
            "how often kills and lives to be given are looked for"),
        .duration(
            "sandbox.retentionS", \.cleanup.sandboxRetention, 86_400...315_360_000,
            "how long sandboxes and requests are kept after their end"),
        .duration(
            "reconcile.intervalS", \.reconciler.interval, 5...3600,
            "pause between two comparisons with the providers' lists"),
        .duration(
            "reconcile.settleS", \.reconciler.settle, 75...3600,
            "how long after its call a sandbox that was never seen counts as absent"),
        .duration(
            "reconcile.orphanGraceS", \.reconciler.orphanGrace, 60...86_400,
            "how old a sandbox of ours without a row must be before it is killed"),
        .int(
            "reconcile.killFloor", \.reconciler.killFloor, 0...10_000,
            "kills of a pass that need no share"),
        .double(
            "reconcile.killShare", \.reconciler.killShare, 0...1,
            "share of a region's live sandboxes above which a pass kills none"),
        .bool(
            "sandbox.kill", \.mayKill,
            "whether this instance may kill at providers at all; PUT /v1/admin/killing switches all at once"),
    ]

    /// How sandboxes are made where their tenant says nothing: deadlines and tries as `retry` has them.
    var sandboxesWithRetries: Sandboxes.Settings {
        var settings = sandboxes
        settings.standard.maxAttempts = retry.maxAttempts
        settings.standard.deadline = retry.deadline
        settings.standard.gatewayDeadline = retry.gatewayDeadline
        return settings
    }
}
