internal import ControlPlane
internal import HTTP
internal import IO
internal import JSON
internal import Outbound
internal import Postgres

/// Where tenants' sandboxes are made. Operators write; a tenant reads its own.
struct RegionRoutes {
    let endpoint: Endpoint

    var all: [Route] { reads + writes + [own, accounts] }

    private var regions: Regions {
        Regions(endpoint.services.pipeline, endpoint.services.secrets)
    }

    private var reads: [Route] {
        let (regions, directory) = (regions, endpoint.services.directory)
        return [
            endpoint.route(
                .get, "/v1/admin/tenants/{tenantId}/regions", "listTenantRegions", .operator
            ) { call throws(Failure) in
                _ = try call.query()
                let tenant = try call.tenant()
                let found = try await domain { () throws(ControlPlaneError) in
                    let found = try await regions.list(of: tenant)
                    if found.isEmpty { _ = try await directory.tenant(tenant) }
                    return found
                }
                return list("regions", found, found.count, last: \.name, write)
            },
            endpoint.route(
                .get, "/v1/admin/tenants/{tenantId}/regions/{regionName}", "getTenantRegion",
                .operator
            ) { call throws(Failure) in
                let tenant = try call.tenant()
                _ = try call.query()
                let name = call.request.parameter("regionName") ?? ""
                return shown(
                    try await domain { () throws(ControlPlaneError) in
                        try await regions.region(name, of: tenant)
                    })
            },
        ]
    }

    private var writes: [Route] {
        let (regions, cache) = (regions, endpoint.services.regions)
        let rule = endpoint.services.settings.upstreams
        return [
            endpoint.route(
                .put, "/v1/admin/tenants/{tenantId}/regions/{regionName}", "putTenantRegion",
                .operator
            ) { call throws(Failure) in
                let tenant = try call.tenant()
                let name = call.request.parameter("regionName") ?? ""
                guard isName(name, atMost: 40) else {
                    throw .problem(.invalid("regionName", "must be 1 to 40 of a-z, 0-9, _ . -"))
                }
                let input = try call.body(RegionInput.self)
                let draft = try input.draft(rule)
                let precondition = try call.precondition()
                let (region, isNew) = try await domain { () throws(ControlPlaneError) in
                    try await regions.put(
                        name, draft, of: tenant, if: precondition, by: call.actor)
                }
                await cache.forget(tenant)
                return shown(region, isNew ? .created : .ok)
            },
            endpoint.route(
                .delete, "/v1/admin/tenants/{tenantId}/regions/{regionName}",
                "deleteTenantRegion", .operator
            ) { call throws(Failure) in
                let tenant = try call.tenant()
                _ = try call.query()
                let name = call.request.parameter("regionName") ?? ""
                let precondition = try call.precondition()
                try await domain { () throws(ControlPlaneError) in
                    try await regions.delete(name, of: tenant, if: precondition, by: call.actor)
                }
                await cache.forget(tenant)
                return Response(.noContent)
            },
        ]
    }

    private var own: Route {
        let regions = regions
        return endpoint.route(
            .get, "/v1/regions", "listRegions", [.read, .record, .sandbox, .admin]
        ) { call throws(Failure) in
            _ = try call.query()
            let found = try await domain { () throws(ControlPlaneError) in
                try await regions.list(of: call.caller.tenant)
            }
            return list("regions", found, found.count, last: \.name, writeOwn)
        }
    }

    private var accounts: Route {
        let (regions, settings) = (regions, endpoint.services.settings)
        return endpoint.route(.get, "/v1/admin/accounts", "listAccounts", .operator) {
            call throws(Failure) in
            let (limit, after) = try Cursor.page(
                try call.query("limit", "cursor"), of: "accounts", settings)
            let page = try await domain { () throws(ControlPlaneError) in
                try await regions.accounts(after: after, limit: limit + 1)
            }
            return list("accounts", page, limit, last: \.account.id, write)
        }
    }
}

// MARK: Input

private struct RegionInput: JSONReadable {
    var draft: Regions.Draft
    /// Nil: stays as it is.
    var url: UpstreamURL
    var dataPlane: UpstreamURL?

    init(from reader: inout JSONReader) throws(JSONError) {
        var draft = Regions.Draft(apiURL: "", domain: "")
        var (url, domain): (UpstreamURL?, String?) = (nil, nil)
        var dataPlane: UpstreamURL?
        try reader.readObject { key, reader throws(JSONError) in
            switch key {
            case "provider": draft.provider = try reader.readName(atMost: 40)
            case "account":
                if try !reader.readNull() { draft.account = try reader.readName(atMost: 64) }
            case "limits": draft.limits = try reader.readAccountLimits()
            case "apiUrl": url = try reader.readUpstream()
            case "domain": domain = try reader.readDomain()
            case "dataPlaneUrl": dataPlane = try reader.readNull() ? nil : try reader.readUpstream()
            case "apiKey": draft.apiKey = try reader.readVisible(1...500)
            case "priority": draft.priority = try reader.readInt(in: 0...1000)
            case "templates": draft.templates = try reader.readTemplates()
            case "enabled": draft.isEnabled = try reader.readBool()
            default: throw reader.unknownField(key)
            }
        }
        self.url = try reader.require(url, "apiUrl")
        draft.domain = try reader.require(domain, "domain")
        draft.apiURL = self.url.base
        self.dataPlane = dataPlane
        draft.dataPlaneURL = dataPlane?.base
        self.draft = draft
    }

    /// Throws 400 for a URL that this deployment does not let be called.
    func draft(_ rule: AddressRule) throws(Failure) -> Regions.Draft {
        try Self.check(url, "apiUrl", rule)
        if let dataPlane { try Self.check(dataPlane, "dataPlaneUrl", rule) }
        return draft
    }

    private static func check(
        _ url: UpstreamURL, _ name: String, _ rule: AddressRule
    ) throws(Failure) {
        if url.scheme == .http, !rule.allowsPrivate {
            throw .problem(refusal(name, "must be https"))
        }
        if let address = IPAddress(url.host), let scope = rule.refusal(of: address) {
            throw .problem(refusal(name, "must not be a \(scope.rawValue) address"))
        }
    }

    private static func refusal(_ name: String, _ reason: String) -> Problem {
        Problem(
            .validation, detail: "\(name) \(reason)",
            errors: [Problem.Invalid("/\(name)", reason)])
    }
}

extension UpstreamURL {
    /// Without the slash that a path may end with.
    fileprivate var base: String {
        var text = description
        while text.hasSuffix("/") { text.removeLast() }
        return text
    }
}

extension JSONReader {
    fileprivate mutating func readName(atMost length: Int) throws(JSONError) -> String {
        let name = try readString(maxBytes: length)
        guard isName(name, atMost: length) else {
            throw failure(.range, "must be 1 to \(length) of a-z, 0-9, _ . -")
        }
        return name
    }

    /// What goes into a field or a path: no control characters, spaces, or what is not ASCII.
    fileprivate mutating func readVisible(_ length: ClosedRange<Int>) throws(JSONError) -> String {
        let text = try readString(maxBytes: length.upperBound)
        guard length.contains(text.utf8.count), isVisible(text) else {
            throw failure(
                .length,
                "must have \(length.lowerBound) to \(length.upperBound) characters of ASCII without spaces"
            )
        }
        return text
    }

    fileprivate mutating func readUpstream() throws(JSONError) -> UpstreamURL {
        guard let url = UpstreamURL(try readString(maxBytes: 2000)), !url.target.contains("?")
        else {
            throw failure(
                .range,
                "must be https://host, with port and path at most: no user, query or fragment")
        }
        return url
    }

    fileprivate mutating func readDomain() throws(JSONError) -> String {
        let text = try readString(maxBytes: 260).lowercased()
        guard let url = UpstreamURL("https://" + text), !text.contains("/"), !text.contains("?"),
            IPAddress(url.host) == nil
        else { throw failure(.range, "must be the name of a host, with a port at most") }
        return text
    }

    fileprivate mutating func readTemplates() throws(JSONError) -> [String: String] {
        var templates: [String: String] = [:]
        try readObject { key, reader throws(JSONError) in
            let name = key.string
            guard templates.count < 500 else {
                throw reader.failure(.count, "must have at most 500 members")
            }
            guard (1...128).contains(name.utf8.count), isVisible(name) else {
                throw reader.failure(
                    .length, "has a name that is not 1 to 128 characters of ASCII without spaces")
            }
            templates[name] = try reader.readVisible(1...200)
        }
        return templates
    }

    fileprivate mutating func readAccountLimits() throws(JSONError) -> ProviderAccount.Limits {
        if try readNull() { return ProviderAccount.Limits() }
        var rate: Double?
        var concurrency: Int?
        try readObject { key, reader throws(JSONError) in
            switch key {
            case "createsPerSecond":
                if try reader.readNull() { return }
                let number = try reader.readDouble()
                guard ProviderAccount.Limits.rates.contains(number) else {
                    throw reader.failure(.range, "must be 0.001 to 1000")
                }
                rate = number
            case "concurrency":
                if try reader.readNull() { return }
                concurrency = try reader.readInt(in: ProviderAccount.Limits.concurrencies)
            default: throw reader.unknownField(key)
            }
        }
        return ProviderAccount.Limits(
            createsPerSecond: rate, concurrency: concurrency.map { Int32($0) })
    }
}

private func isVisible(_ text: String) -> Bool {
    text.utf8.allSatisfy { (0x21...0x7e).contains($0) }
}

/// The form of providers', regions' and accounts' names, which breakers' ids are made of.
private func isName(_ text: String, atMost length: Int) -> Bool {
    (1...length).contains(text.utf8.count)
        && text.utf8.allSatisfy {
            (0x61...0x7a).contains($0) || (0x30...0x39).contains($0)
                || $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-")
        }
}

// MARK: Answers

private func shown(_ region: Region, _ status: Status = .ok) -> Response {
    var writer = JSONWriter()
    write(region, &writer)
    var response = Response.json(writer.bytes, status: status)
    response.fields.append(Field(.eTag, "\"\(region.version)\""))
    if status == .created {
        response.fields.append(
            Field(.location, "/v1/admin/tenants/\(region.tenant)/regions/\(region.name)"))
    }
    return response
}

private func write(_ region: Region, _ writer: inout JSONWriter) {
    writer.object {
        writeMain(region, &$0)
        $0.member("account", orNull: region.account.name)
        write(region.account.limits, &$0)
        $0.member("hasApiKey", true)
        $0.member("apiKeyHint", orNull: region.apiKeyHint)
        $0.member("version", region.version)
        $0.member("createdAt", region.createdAt.description)
        $0.member("updatedAt", region.updatedAt.description)
        $0.member("updatedBy", region.updatedBy)
    }
}

private func writeOwn(_ region: Region, _ writer: inout JSONWriter) {
    writer.object { writeMain(region, &$0) }
}

private func writeMain(_ region: Region, _ writer: inout JSONWriter) {
    writer.member("name", region.name)
    writer.member("provider", region.provider)
    writer.member("apiUrl", region.apiURL)
    writer.member("domain", region.domain)
    writer.member("dataPlaneUrl", orNull: region.dataPlaneURL)
    writer.member("priority", region.priority)
    writer.object("templates") {
        for (name, id) in region.templates.sorted(by: { $0.key < $1.key }) { $0.member(name, id) }
    }
    writer.member("enabled", region.isEnabled)
}

private func write(_ limits: ProviderAccount.Limits, _ writer: inout JSONWriter) {
    writer.object("limits") {
        $0.member("createsPerSecond", orNull: limits.createsPerSecond)
        $0.member("concurrency", orNull: limits.concurrency.map { Int($0) })
    }
}

private func write(_ view: AccountView, _ writer: inout JSONWriter) {
    writer.object {
        $0.member("id", view.account.id)
        write(view.account.limits, &$0)
        $0.member("regions", view.regions)
        $0.member("leases", view.leases)
        $0.member("blockedUntil", orNull: view.blockedUntil?.description)
        $0.member("updatedAt", view.updatedAt.description)
    }
}
