/// The last `limit` of what was appended.
struct Ring<Element: Sendable>: Sendable {
    let limit: Int
    private var elements: [Element] = []
    /// Where the oldest is, once it is full.
    private var first = 0

    /// - Precondition: `limit` is at least 1.
    init(_ limit: Int) {
        precondition(limit > 0)
        self.limit = limit
    }

    var count: Int { elements.count }

    /// Answers what it forgot for it.
    @discardableResult
    mutating func append(_ element: Element) -> Element? {
        guard elements.count == limit else {
            elements.append(element)
            return nil
        }
        let forgotten = elements[first]
        elements[first] = element
        first = (first + 1) % limit
        return forgotten
    }

    /// Counted from the oldest.
    subscript(_ index: Int) -> Element { elements[(first + index) % elements.count] }
}
