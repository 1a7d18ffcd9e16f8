internal import IO
internal import JSON
internal import Postgres

extension Creations {
    struct Made: Sendable {
        let sandbox: Sandbox
        let answer: ProviderSandbox
        /// The whole operation.
        var took: Duration = .zero
    }

    /// One creation with what its tries leave behind. Belongs to the loop.
    final class Job: @unchecked Sendable {
        // Unchecked: touched on the loop alone. A first try writes its record and its intent at the same time.
        let order: CreationOrder
        let deadline: MonotonicInstant
        let request = UUID.v7()
        /// Its caller has left.
        var isAbandoned = false
        /// And has nothing by which it could ask for what was made.
        var isUnknown: Bool { isAbandoned && order.idempotency == nil }
        var attempts = 0
        var replacements = 0
        var hasFallenBack = false
        /// Its sandbox was made, and its life refused: the request is over.
        var isRefused = false
        var denial: Verdict?
        var fault: ControlPlaneError?
        let begun: ((UUID) -> Void)?
        /// Whether somebody waits for its end, rather than looking at the request.
        var isAwaited: Bool { begun == nil }

        init(_ order: CreationOrder, at now: MonotonicInstant, _ begun: ((UUID) -> Void)? = nil) {
            self.order = order
            deadline = now.advanced(by: order.deadline)
            self.begun = begun
        }

        func plan(deadline: Duration) -> SandboxPlan {
            var metadata = JSONWriter()
            metadata.object { for item in order.metadata { $0.member(item.name, item.value) } }
            return SandboxPlan(
                tenant: order.tenant, request: request, way: order.way,
                template: order.choice.template, framework: order.choice.framework,
                region: order.target.region, life: order.life,
                pauses: order.pauses,
                metadata: String(decoding: metadata.bytes, as: UTF8.self), traceID: order.traceID,
                deadline: deadline)
        }
    }
}
