import API
import ControlPlane

extension Settings {
    /// How sandboxes are made, watched and ended.
    static let sandboxTable: [Setting] = [
        .text(
            "sandbox.defaultTemplate", \.sandboxes.defaultTemplate,
            "takes the place of a template that cannot be had; none if not given"),
        .text(
            "sandbox.defaultFramework", \.sandboxes.defaultFramework,
            "framework of the default template"),
        .choice(
            "sandbox.fallbackOn", \.sandboxes.fallbackRule,
            "when the default template is tried: templateNotFound or anyError"),
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
            "sandbox.kill", \.reconciler.isOn,
            "the switch of all killing at providers: false stops it at once after a restart"),
    ]
}
