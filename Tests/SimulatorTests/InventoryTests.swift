import Simulator
import Testing

@Suite struct `A simulated sandbox` {
    private func sandbox(
        _ number: Int, at start: Duration = .zero, for life: Duration = .seconds(60),
        pauses: Bool = false
    ) -> Sandbox {
        Sandbox(
            number: number, id: "i\(number)", region: "us", keyID: "one", template: "base",
            pausesAtTimeout: pauses, createdAt: start, life: life)
    }

    @Test func `ends when its time is up, not when somebody looks`() {
        var inventory = Inventory(keepingEnded: 10)
        inventory.add(sandbox(1))
        inventory.settle(at: .seconds(59))
        #expect(inventory["i1"]?.state == .running)
        inventory.settle(at: .seconds(500))
        #expect(inventory["i1"]?.endedAt == .seconds(60))
        #expect(inventory["i1"]?.end == .timeout)
        #expect(inventory.ran(until: .seconds(500)) == .seconds(60))
        #expect(inventory.live == 0)
    }

    @Test func `is paused instead if so asked, and then costs nothing`() {
        var inventory = Inventory(keepingEnded: 10)
        inventory.add(sandbox(1, pauses: true))
        inventory.settle(at: .seconds(500))
        #expect(inventory["i1"]?.state == .paused)
        #expect(inventory.ran(until: .seconds(500)) == .seconds(60))
        #expect(inventory.running(.init(region: "us", keyID: "one")) == 0)
        #expect(inventory.live == 1)
    }

    @Test func `vanishes before its time, paused too`() {
        var inventory = Inventory(keepingEnded: 10)
        var (running, paused) = (sandbox(1), sandbox(2, for: .seconds(5), pauses: true))
        running.vanishesAt = .seconds(30)
        paused.vanishesAt = .seconds(30)
        inventory.add(running)
        inventory.add(paused)
        inventory.settle(at: .seconds(100))
        #expect(inventory["i1"]?.end == .vanished)
        #expect(inventory["i2"]?.end == .vanished)
        #expect(inventory.totals.byEnd == ["vanished": 2])
        #expect(inventory.ran(until: .seconds(100)) == .seconds(35))
    }

    @Test func `is forgotten when enough others have ended after it, and still counted`() {
        var inventory = Inventory(keepingEnded: 3)
        for number in 1...1000 {
            inventory.add(sandbox(number, at: .seconds(number), for: .seconds(1)))
            inventory.settle(at: .seconds(number + 1))
        }
        #expect(inventory.list(after: 0, limit: 100).map(\.number) == [998, 999, 1000])
        #expect(inventory.list(after: 998, limit: 1).map(\.number) == [999])
        #expect(inventory["i5"] == nil)
        #expect(inventory.totals.created == 1000)
        #expect(inventory.ran(until: .seconds(2000)) == .seconds(1000))
    }

    @Test func `has a book that keeps the last calls alone`() {
        var book = Book(keeping: 3)
        for _ in 1...10 {
            book.append(
                CallRecord(
                    at: .zero, region: "us", operation: .get, method: "GET", path: "/x"))
        }
        #expect(book.oldest == 8)
        #expect(book.calls(after: 0, limit: 2).map(\.number) == [8, 9])
        #expect(book.calls(after: 9, limit: 9).map(\.number) == [10])
        #expect(book.calls(after: 10, limit: 9).isEmpty)
    }
}
