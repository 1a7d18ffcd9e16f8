extension Request {
    /// One `name=value` of a query, both decoded ("+" is a space); without "=" the value is empty.
    package struct QueryItem: Hashable, Sendable {
        package let name: String
        package let value: String
    }

    /// The value of the first item of this name; nil if there is none.
    package func query(_ name: String) -> String? {
        if head.query.isEmpty { return nil }
        return queryItems.first { $0.name == name }?.value
    }

    /// All items in order, repeated ones kept apart: who must refuse unknown or repeated names looks
    /// here.
    package var queryItems: [QueryItem] {
        let bytes = headBytes.span
        var items: [QueryItem] = []
        var first = head.query.lowerBound
        let end = head.query.upperBound
        for place in first...end where place == end || bytes[place] == UInt8(ascii: "&") {
            if place > first { items.append(item(bytes, ByteRange(first, place))) }
            first = place + 1
        }
        return items
    }

    private func item(_ bytes: Span<UInt8>, _ range: ByteRange) -> QueryItem {
        var equals = range.lowerBound
        while equals < range.upperBound, bytes[equals] != UInt8(ascii: "=") { equals += 1 }
        return QueryItem(
            name: text(bytes, ByteRange(range.lowerBound, equals)),
            value: text(bytes, ByteRange(min(equals + 1, range.upperBound), range.upperBound)))
    }

    /// The parser has decoded the query once, so that this cannot fail.
    private func text(_ bytes: Span<UInt8>, _ range: ByteRange) -> String {
        PercentEncoding.decodedText(bytes, range) ?? ""
    }
}
