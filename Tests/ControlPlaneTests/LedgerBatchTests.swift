import ControlPlane
import Postgres
import TestSupport
import Testing

@Suite struct `A batch of the ledger` {
    private let tenant = Tenant.ID(UUID(high: 1, low: 1))

    private func call(_ operation: Int16, cost: Int32 = 1, limit: Int64? = 10) -> LedgerCall {
        LedgerCall(
            key: UsageKey(tenant: tenant, operation: operation), cost: cost, limit: limit,
            window: 3600)
    }

    @Test func `merges equal calls to one element`() {
        let batch = LedgerBatch([call(1), call(2), call(1), call(1)], maxKeys: 10)
        #expect(batch.elements == [call(1), call(2)])
        #expect(batch.counts == [3, 1])
        #expect(batch.rounds == [0, 0])
        #expect(batch.keyCount == 2)
    }

    @Test func `puts different calls of one key into different rounds`() {
        let batch = LedgerBatch(
            [call(1), call(1, cost: 2), call(1, limit: nil), call(1)], maxKeys: 10)
        #expect(batch.counts == [2, 1, 1])
        #expect(batch.rounds == [0, 1, 2])
        #expect(batch.keyCount == 1)
    }

    @Test func `takes no more keys than allowed and leaves the rest in order`() {
        let calls = [call(1), call(2), call(1), call(3), call(1)]
        let batch = LedgerBatch(calls[...], maxKeys: 2)
        #expect(batch.callCount == 3)
        #expect(LedgerBatch(calls[3...], maxKeys: 2).callCount == 2)
    }

    @Test func `keeps an element's units within the column`() {
        let calls = Array(repeating: call(1, cost: 1_000_000), count: 5000)
        let batch = LedgerBatch(calls[...], maxKeys: 10)
        #expect(batch.callCount == 5000)
        for (element, count) in zip(batch.elements, batch.counts) {
            #expect(Int64(element.cost) * Int64(count) <= Int64(Int32.max))
        }
        #expect(Set(batch.rounds).count == batch.elements.count)
    }

    @Test func `hands each call its own decision, the first callers first`() {
        let batch = LedgerBatch([call(1, cost: 3), call(2), call(1, cost: 3)], maxKeys: 10)
        let time = Timestamp(microseconds: 1_000_000)
        let rows = [
            LedgerBatch.Row(ord: 2, admitted: 1, used: 0, at: time, retryAt: nil),
            LedgerBatch.Row(
                ord: 1, admitted: 1, used: 4, at: time, retryAt: time + .seconds(60)),
        ]
        #expect(
            batch.decisions(rows) == [
                .admitted(count: 7, at: time), .admitted(count: 1, at: time),
                .denied(count: 7, retryAfter: .seconds(60)),
            ])
    }

    @Test func `says so where a row is missing`() {
        let batch = LedgerBatch([call(1), call(2)], maxKeys: 10)
        let row = LedgerBatch.Row(
            ord: 1, admitted: 1, used: 0, at: Timestamp(microseconds: 0), retryAt: nil)
        #expect(
            batch.decisions([row]) == [.admitted(count: 1, at: Timestamp(microseconds: 0)), nil])
    }
}

@Suite struct `An API key` {
    @Test func `has the shape that the stock SDK checks, and its checksum`() {
        var random = SystemRandomNumberGenerator()
        for _ in 0..<200 {
            let key = APIKeySecret(using: &random)
            #expect(key.text.utf8.count == 68)
            #expect(key.text.hasPrefix("e2b_"))
            #expect(key.text.dropFirst(4).allSatisfy { $0.isHexDigit && !$0.isUppercase })
            #expect(APIKeySecret(key.text)?.id == key.id)
        }
    }

    @Test(.proves("H1"))
    func `is refused with any one digit changed`() throws {
        var random = SystemRandomNumberGenerator()
        let text = Array(APIKeySecret(using: &random).text)
        for place in 4..<text.count {
            var wrong = text
            wrong[place] = wrong[place] == "0" ? "1" : "0"
            #expect(APIKeySecret(String(wrong)) == nil)
        }
        #expect(APIKeySecret(String(text).uppercased()) == nil)
        #expect(APIKeySecret(String(text.dropLast())) == nil)
        #expect(APIKeySecret("") == nil)
    }

    @Test func `never prints its secret`() {
        var random = SystemRandomNumberGenerator()
        let key = APIKeySecret(using: &random)
        #expect("\(key)" == "<redacted>")
        #expect(!String(reflecting: key).contains(key.text))
        #expect(!redacted("curl -H 'Authorization: Bearer \(key.text)'").contains(key.text))
        #expect(redacted("postgres://u:secret@h/d") == "postgres://u:<redacted>@h/d")
        #expect(redacted("nothing to hide") == "nothing to hide")
    }
}
