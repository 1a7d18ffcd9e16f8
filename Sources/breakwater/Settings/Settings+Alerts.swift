import ControlPlane

extension Settings {
    /// How alerts are evaluated, and how they are told.
    static let alertTable: [Setting] = [
        .duration(
            "alerts.intervalS", \.alerts.interval, 1...3600, "pause between two evaluations"),
        .int(
            "alerts.maxPerTenant", \.alerts.maxPerTenant, 1...100_000,
            "alerts of a tenant at a time; what is over it waits until one is gone"),
        .int(
            "alerts.maxWaiting", \.alerts.maxWaiting, 1...100_000,
            "notifications of a channel that may wait; what is over it is given up at once"),
        .duration(
            "alerts.pollMs", \.alertSender.poll, 50...60_000,
            "how often notifications to be sent are looked for"),
        .duration(
            "alerts.sendS", \.alertSender.call, 1...60, "longest for one call to a receiver"),
        .int(
            "alerts.width", \.alertSender.width, 1...1000,
            "notifications that an instance sends at a time"),
        .int(
            "alerts.perChannel", \.alertSender.perChannel, 1...100,
            "notifications of a channel that are sent at a time, by all instances"),
        .int(
            "alerts.maxAttempts", \.alertSender.maxAttempts, 1...100,
            "tries of a notification; then it is given up"),
        .duration(
            "alerts.backoffMs", \.alertSender.backoff, 100...3_600_000,
            "pause after the first failed try; each doubles"),
        .duration(
            "alerts.maxBackoffS", \.alertSender.maxBackoff, 1...86_400,
            "longest pause between two tries, also where the receiver asks for more"),
        .duration(
            "alerts.retentionS", \.cleanup.alertRetention, 86_400...315_360_000,
            "how long alerts that are over and their notifications are kept"),
    ]
}
