/// Which breaker: of one tenant, or of all of them together (`Tenant.ID.fleet`), towards one provider
/// and region, for one class of operations. A breaker is known by its key, with or without a row.
package struct BreakerKey: Hashable, Sendable {
    /// Classes are few: a provider that cannot create must not keep anybody from killing.
    package enum OperationClass: String, Hashable, Sendable, CaseIterable {
        case create, manage

        /// That of an operation of this name, where the caller does not say.
        package init(ofOperation name: String) {
            let words = name.utf8.split { $0 == 0x5f || $0 == 0x2e || $0 == 0x2d }  // _ . -
            self = words.contains { $0.elementsEqual("create".utf8) } ? .create : .manage
        }
    }

    package let tenant: Tenant.ID
    /// Lower case, e.g. `e2b`.
    package let provider: String
    package let region: String
    package let operationClass: OperationClass

    package init(
        _ tenant: Tenant.ID, provider: String, region: String, _ operationClass: OperationClass
    ) {
        self.tenant = tenant
        self.provider = provider
        self.region = region
        self.operationClass = operationClass
    }

    /// Reads `provider:region:class`; nil if it is of another form.
    package init?(_ tenant: Tenant.ID, id: String) {
        let parts = id.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard parts.count == 3, Self.isName(parts[0]), Self.isName(parts[1]),
            let operationClass = OperationClass(rawValue: parts[2])
        else { return nil }
        self.init(tenant, provider: parts[0], region: parts[1], operationClass)
    }

    /// `provider:region:class`, as on the wire and in the table.
    package var id: String { "\(provider):\(region):\(operationClass.rawValue)" }

    /// The provider's name in texts, e.g. `E2B`.
    package var name: String { provider.uppercased() }

    /// The breaker over all tenants, which is the operators' alone.
    package var parent: BreakerKey {
        BreakerKey(.fleet, provider: provider, region: region, operationClass)
    }

    package var isParent: Bool { tenant == .fleet }

    /// A provider's or region's name: 1 to 40 of `[a-z0-9_.-]`.
    package static func isName(_ text: String) -> Bool {
        (1...40).contains(text.utf8.count)
            && text.utf8.allSatisfy { byte in
                switch byte {
                case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
                    UInt8(ascii: "_"), UInt8(ascii: "."), UInt8(ascii: "-"):
                    true
                default: false
                }
            }
    }
}
