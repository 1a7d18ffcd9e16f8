internal import IO
package import JSON

/// One thing that a tenant may set for its sandboxes. The raw value is its name on the wire and in the
/// database.
package enum TenantSetting: String, Hashable, Sendable, CaseIterable {
    case healthCheck, fallbackOn, defaultTemplate, defaultFramework
    case sandboxLifeMs, fileReadMs, buildMs, providerCallMs
    case maxAttempts, deadlineMs, gatewayDeadlineMs, maxLiveSandboxes

    /// What it takes.
    package enum Form: Hashable, Sendable {
        case choice([String])
        /// A text of so many octets, without control characters.
        case label(ClosedRange<Int>)
        case number(ClosedRange<Int>)
    }

    package var form: Form {
        switch self {
        case .healthCheck: .choice(HealthCheckMode.allCases.map(\.rawValue))
        case .fallbackOn: .choice(FallbackRule.allCases.map(\.rawValue))
        case .defaultTemplate: .label(1...200)
        case .defaultFramework: .label(1...100)
        case .sandboxLifeMs: .number(1000...86_400_000)
        case .fileReadMs: .number(100...3_600_000)
        case .buildMs: .number(1000...86_400_000)
        case .providerCallMs: .number(100...600_000)
        case .maxAttempts: .number(1...RetryPolicy.mostAttempts)
        case .deadlineMs, .gatewayDeadlineMs: .number(1000...600_000)
        case .maxLiveSandboxes: .number(0...1_000_000)
        }
    }
}

/// What a tenant has set for itself; what is not there is the deployment's.
package struct TenantSettings: Hashable, Sendable {
    package enum Value: Hashable, Sendable {
        case text(String)
        case number(Int)
    }

    package private(set) var values: [TenantSetting: Value] = [:]

    package init() {}

    /// From its column. Names of a later release are passed over.
    init(stored: String) {
        guard case .object(let members)? = JSONValue(bytes: Array(stored.utf8)) else { return }
        for member in members {
            guard let setting = TenantSetting(rawValue: member.name) else { continue }
            switch member.value {
            case .string(let text): values[setting] = .text(text)
            case .number(let number): values[setting] = number.int.map { .number($0) }
            default: break
            }
        }
    }

    package subscript(_ setting: TenantSetting) -> Value? {
        get { values[setting] }
        set { values[setting] = newValue }
    }

    func text(_ setting: TenantSetting) -> String? {
        if case .text(let text)? = values[setting] { text } else { nil }
    }

    func number(_ setting: TenantSetting) -> Int? {
        if case .number(let number)? = values[setting] { number } else { nil }
    }

    func duration(_ setting: TenantSetting) -> Duration? {
        number(setting).map { .milliseconds($0) }
    }

    /// As its column holds it.
    var json: String {
        var writer = JSONWriter()
        writer.object { json in
            for setting in TenantSetting.allCases {
                json.member(setting.rawValue, ifPresent: values[setting])
            }
        }
        return String(decoding: writer.bytes, as: UTF8.self)
    }
}

extension TenantSettings.Value: JSONWritable {
    package func write(to writer: inout JSONWriter) {
        switch self {
        case .text(let text): writer.value(text)
        case .number(let number): writer.value(number)
        }
    }
}

/// How long things may take, for those who make sandboxes (the original's values, but for the call, for
/// which it had none). Reading a file and building do not pass here: they are held for callers, who are
/// told with each permit and each sandbox.
package struct SandboxTimes: Hashable, Sendable {
    /// One call to the provider.
    package var call: Duration = .seconds(30)
    /// A sandbox, from its creation.
    package var life: Duration = .seconds(1800)
    /// Reading a file in it.
    package var fileRead: Duration = .seconds(3)
    /// Building in it.
    package var build: Duration = .seconds(120)

    package init() {}

    package func with(_ own: TenantSettings) -> SandboxTimes {
        var times = self
        times.call = own.duration(.providerCallMs) ?? call
        times.life = own.duration(.sandboxLifeMs) ?? life
        times.fileRead = own.duration(.fileReadMs) ?? fileRead
        times.build = own.duration(.buildMs) ?? build
        return times
    }
}

/// How sandboxes are made: the deployment's way, or with a tenant's own settings over it.
package struct SandboxSettings: Hashable, Sendable {
    package var healthCheck = HealthCheckMode.warn
    package var fallbackRule = FallbackRule.templateNotFound
    /// Takes the place of a template that cannot be had; nil: nothing does.
    package var defaultTemplate: String?
    package var defaultFramework: String?
    package var times = SandboxTimes()
    package var maxAttempts = RetryPolicy.Settings().maxAttempts
    package var deadline = RetryPolicy.Settings().deadline
    package var gatewayDeadline = RetryPolicy.Settings().gatewayDeadline
    /// Sandboxes that a tenant may have at a time, those that are being made among them; nil: any number.
    package var maxLive: Int64?
    /// One call to create, where the tenant says; nil: `sandbox.createCallS`.
    package var createCall: Duration?

    package init() {}

    package var fallback: TemplateChoice? {
        defaultTemplate.map { TemplateChoice($0, framework: defaultFramework) }
    }

    package func with(_ own: TenantSettings) -> SandboxSettings {
        var settings = self
        settings.healthCheck =
            own.text(.healthCheck).flatMap { HealthCheckMode(rawValue: $0) } ?? healthCheck
        settings.fallbackRule =
            own.text(.fallbackOn).flatMap { FallbackRule(rawValue: $0) } ?? fallbackRule
        if let template = own.text(.defaultTemplate) {
            // The deployment's framework is that of its own template.
            settings.defaultTemplate = template
            settings.defaultFramework = nil
        }
        settings.defaultFramework = own.text(.defaultFramework) ?? settings.defaultFramework
        settings.times = times.with(own)
        settings.createCall = own.duration(.providerCallMs) ?? createCall
        settings.maxAttempts = own.number(.maxAttempts) ?? maxAttempts
        settings.deadline = own.duration(.deadlineMs) ?? deadline
        settings.gatewayDeadline = own.duration(.gatewayDeadlineMs) ?? gatewayDeadline
        // A tenant may lower the operator's cap, not raise it.
        settings.maxLive = [own.number(.maxLiveSandboxes).map { Int64($0) }, maxLive]
            .compactMap(\.self).min()
        return settings
    }

    /// What is in force.
    package subscript(_ setting: TenantSetting) -> TenantSettings.Value? {
        func milliseconds(_ duration: Duration) -> TenantSettings.Value {
            .number(Int(duration.milliseconds))
        }
        return switch setting {
        case .healthCheck: .text(healthCheck.rawValue)
        case .fallbackOn: .text(fallbackRule.rawValue)
        case .defaultTemplate: defaultTemplate.map { .text($0) }
        case .defaultFramework: defaultFramework.map { .text($0) }
        case .sandboxLifeMs: milliseconds(times.life)
        case .fileReadMs: milliseconds(times.fileRead)
        case .buildMs: milliseconds(times.build)
        case .providerCallMs: milliseconds(times.call)
        case .maxAttempts: .number(maxAttempts)
        case .deadlineMs: milliseconds(deadline)
        case .gatewayDeadlineMs: milliseconds(gatewayDeadline)
        case .maxLiveSandboxes: maxLive.map { .number(Int($0)) }
        }
    }
}
