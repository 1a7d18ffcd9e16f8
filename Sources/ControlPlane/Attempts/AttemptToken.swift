internal import Crypto
internal import IO
package import Postgres

/// What the outcome of a permitted call must know of its permit. It goes to the caller as the permit's
/// id and comes back with the outcome, so that a permit needs no row: neither it nor a success costs a
/// statement beside the ledger's batch.
package struct AttemptToken: Hashable, Sendable {
    /// How long an outcome is awaited.
    package static let life: Duration = .seconds(86_400)

    package let id: UUID
    /// The database's time as the instance knew it.
    package let issuedAt: Timestamp
    package let deadline: Duration?
    package let operation: String
    package let cost: Int32
    package let maxPerHour: Int64?
    package let ticket: BreakerTicket
    /// What is to be made, as its events name it.
    package let template: String?
    package let framework: String?

    package init(
        id: UUID, issuedAt: Timestamp, deadline: Duration?, ask: Ask, ticket: BreakerTicket,
        template: String? = nil, framework: String? = nil
    ) {
        self.id = id
        self.issuedAt = issuedAt
        self.deadline = deadline
        operation = ask.operation
        cost = ask.cost
        maxPerHour = ask.maxPerHour
        self.ticket = ticket
        self.template = template
        self.framework = framework
    }

    /// Whether an outcome that comes at `now` is still heard.
    func isAlive(at now: Timestamp) -> Bool { now < issuedAt + Self.life }
}

/// Makes ids of permits, and reads them: a token in hexadecimal behind a mark, with a MAC over it and
/// the tenant. Nobody makes one up, changes one, or uses another tenant's.
struct AttemptSigner: Sendable {
    private static let mark = "att_"
    /// HMAC-SHA-256 cut to 128 bits (RFC 2104 section 5 asks for at least half of the hash).
    private static let macLength = 16
    /// Longest token: names of 64, 90, 200 and 100 octets, all optional parts.
    private static let maxLength = 640

    /// Keyed, and used as a copy each time.
    private let keyed: HMAC<SHA256>

    /// - Parameter secret: 32 octets that all instances share.
    init(secret: [UInt8]) { keyed = HMAC(key: SymmetricKey(data: secret)) }

    func sign(_ token: AttemptToken) -> String {
        var octets = token.octets
        octets += mac(octets, token.ticket.key.tenant)
        return Self.mark + hexadecimal(octets)
    }

    /// The token behind an id; nil for what this service has not given to this tenant.
    func read(_ text: String, for tenant: Tenant.ID) -> AttemptToken? {
        guard text.hasPrefix(Self.mark), text.utf8.count <= 2 * Self.maxLength,
            let octets = octets(fromHexadecimal: text.utf8.dropFirst(Self.mark.utf8.count)),
            octets.count > Self.macLength
        else { return nil }
        let content = Array(octets.dropLast(Self.macLength))
        let tag = Array(octets.suffix(Self.macLength))
        // As a MAC of its own, so that the comparison takes the same time wherever they differ.
        var difference: UInt8 = 0
        for (one, other) in zip(mac(content, tenant), tag) { difference |= one ^ other }
        guard difference == 0 else { return nil }
        return AttemptToken(content, tenant)
    }

    private func mac(_ octets: [UInt8], _ tenant: Tenant.ID) -> [UInt8] {
        var hmac = keyed
        hmac.update(data: octets + tenant.uuid.octets)
        return Array(hmac.finalize().prefix(Self.macLength))
    }
}

extension AttemptToken {
    private static let version: UInt8 = 1

    /// The optional parts that a token has.
    private struct Parts: OptionSet {
        let rawValue: UInt8
        static let deadline = Parts(rawValue: 1)
        static let maxPerHour = Parts(rawValue: 2)
        static let ownProbe = Parts(rawValue: 4)
        static let parentProbe = Parts(rawValue: 8)
        static let template = Parts(rawValue: 16)
        static let framework = Parts(rawValue: 32)
    }

    fileprivate var octets: [UInt8] {
        var parts: Parts = []
        var rest: [UInt8] = []
        if let deadline {
            parts.insert(.deadline)
            append(UInt64(bitPattern: deadline.milliseconds), to: &rest)
        }
        if let maxPerHour {
            parts.insert(.maxPerHour)
            append(UInt64(bitPattern: maxPerHour), to: &rest)
        }
        if let probe = ticket.own.probe {
            parts.insert(.ownProbe)
            rest += probe.octets
        }
        if let probe = ticket.parent.probe {
            parts.insert(.parentProbe)
            rest += probe.octets
        }
        var names = [operation, ticket.key.id]
        if let template {
            parts.insert(.template)
            names.append(template)
        }
        if let framework {
            parts.insert(.framework)
            names.append(framework)
        }
        var octets: [UInt8] = []
        octets.reserveCapacity(256)
        octets.append(Self.version)
        octets.append(parts.rawValue)
        octets += id.octets
        append(UInt64(bitPattern: issuedAt.microseconds), to: &octets)
        append(UInt64(bitPattern: Int64(cost)), to: &octets)
        append(UInt64(bitPattern: ticket.own.generation), to: &octets)
        append(UInt64(bitPattern: ticket.parent.generation), to: &octets)
        octets += rest
        for name in names {
            octets.append(UInt8(truncatingIfNeeded: name.utf8.count))
            octets += name.utf8
        }
        return octets
    }

    /// Reads what `octets` made; the MAC has been checked, so anything else is another version's.
    fileprivate init?(_ octets: [UInt8], _ tenant: Tenant.ID) {
        var rest = octets[...]
        guard rest.popFirst() == Self.version, let parts = rest.popFirst().map(Parts.init),
            let id = takeUUID(&rest), let issuedAt = takeNumber(&rest),
            let cost = takeNumber(&rest), let own = takeNumber(&rest),
            let parent = takeNumber(&rest)
        else { return nil }
        let deadline = parts.contains(.deadline) ? takeNumber(&rest) : nil
        let maxPerHour = parts.contains(.maxPerHour) ? takeNumber(&rest) : nil
        let ownProbe = parts.contains(.ownProbe) ? takeUUID(&rest) : nil
        let parentProbe = parts.contains(.parentProbe) ? takeUUID(&rest) : nil
        guard let operation = takeName(&rest),
            let key = takeName(&rest).flatMap({ BreakerKey(tenant, id: $0) })
        else { return nil }
        let template = parts.contains(.template) ? takeName(&rest) : nil
        let framework = parts.contains(.framework) ? takeName(&rest) : nil
        guard rest.isEmpty else { return nil }
        self.init(
            id: id, issuedAt: Timestamp(microseconds: issuedAt),
            deadline: deadline.map { .milliseconds($0) },
            ask: Ask(
                operation, cost: Int32(truncatingIfNeeded: cost), maxPerHour: maxPerHour),
            ticket: BreakerTicket(
                key: key, own: BreakerPass(generation: own, probe: ownProbe),
                parent: BreakerPass(generation: parent, probe: parentProbe)),
            template: template, framework: framework)
    }
}

// MARK: Octets

private func append(_ number: UInt64, to octets: inout [UInt8]) {
    for shift in stride(from: 56, through: 0, by: -8) {
        octets.append(UInt8(truncatingIfNeeded: number >> shift))
    }
}

private func takeNumber(_ octets: inout ArraySlice<UInt8>) -> Int64? {
    guard octets.count >= 8 else { return nil }
    defer { octets = octets.dropFirst(8) }
    return Int64(bitPattern: octets.prefix(8).reduce(0) { $0 << 8 | UInt64($1) })
}

private func takeUUID(_ octets: inout ArraySlice<UInt8>) -> UUID? {
    guard let high = takeNumber(&octets), let low = takeNumber(&octets) else { return nil }
    return UUID(high: UInt64(bitPattern: high), low: UInt64(bitPattern: low))
}

private func takeName(_ octets: inout ArraySlice<UInt8>) -> String? {
    guard let count = octets.popFirst(), octets.count >= Int(count) else { return nil }
    defer { octets = octets.dropFirst(Int(count)) }
    return String(validating: octets.prefix(Int(count)), as: UTF8.self)
}

extension UUID {
    fileprivate var octets: [UInt8] {
        var octets: [UInt8] = []
        append(high, to: &octets)
        append(low, to: &octets)
        return octets
    }
}

/// Lower-case digits alone: a token has one form.
private func octets(fromHexadecimal digits: some Collection<UInt8>) -> [UInt8]? {
    guard digits.count % 2 == 0 else { return nil }
    var octets: [UInt8] = []
    octets.reserveCapacity(digits.count / 2)
    var high: UInt8?
    for digit in digits {
        guard let value = lowerHexDigit(digit) else { return nil }
        if let first = high {
            octets.append(first << 4 | value)
            high = nil
        } else {
            high = value
        }
    }
    return octets
}
