/// The patterns as a tree over path segments, in flat arrays of trivial values: matching compares
/// bytes and counts no reference.
struct RouteTree: Sendable {
    private struct Node: Sendable {
        /// The first of its literal children, which are a list in `edges`.
        var edge: Int?
        var parameter: Int?
        var rest: Int?
        var endpoint: Int?
    }

    private struct Edge: Sendable {
        let literal: ByteRange  // in `literals`
        let node: Int
        let next: Int?
    }

    private var nodes = [Node()]
    private var edges: [Edge] = []
    private var literals: [UInt8] = []
    /// A row of one slot a method for each place in the tree that has routes; -1 is none.
    private var slots: [Int16] = []
    private static let rowLength = Int(MethodToken.other.rawValue)

    var endpointCount: Int { slots.count / Self.rowLength }

    /// The place for a pattern, made if it is new.
    mutating func endpoint(for pattern: RoutePattern) -> Int {
        var node = 0
        for segment in pattern.segments { node = child(of: node, segment) }
        if let endpoint = nodes[node].endpoint { return endpoint }
        let endpoint = endpointCount
        slots += [Int16](repeating: -1, count: Self.rowLength)
        nodes[node].endpoint = endpoint
        return endpoint
    }

    private mutating func child(of node: Int, _ segment: RoutePattern.Segment) -> Int {
        switch segment {
        case .literal(let text):
            if let known = literalChild(of: node, text.span, ByteRange(0, text.count)) {
                return known
            }
            let literal = ByteRange(literals.count, literals.count + text.count)
            literals += text
            nodes.append(Node())
            edges.append(Edge(literal: literal, node: nodes.count - 1, next: nodes[node].edge))
            nodes[node].edge = edges.count - 1
        case .parameter:
            if let known = nodes[node].parameter { return known }
            nodes.append(Node())
            nodes[node].parameter = nodes.count - 1
        case .rest:
            if let known = nodes[node].rest { return known }
            nodes.append(Node())
            nodes[node].rest = nodes.count - 1
        }
        return nodes.count - 1
    }

    func route(_ endpoint: Int, _ method: MethodToken) -> Int? {
        guard method != .other else { return nil }
        let slot = slots[endpoint &* Self.rowLength &+ Int(method.rawValue)]
        return slot < 0 ? nil : Int(slot)
    }

    mutating func set(_ endpoint: Int, _ method: MethodToken, _ route: Int) {
        slots[endpoint * Self.rowLength + Int(method.rawValue)] = Int16(route)
    }

    /// The place that a path leads to. A literal segment wins over a parameter, a parameter over a
    /// rest.
    func find(_ bytes: Span<UInt8>, _ path: ByteRange) -> Int? {
        // `http://host` has an empty path, which means "/" (RFC 9110 section 4.2.3).
        if path.isEmpty { return find(bytes, path.lowerBound, path.lowerBound, 0) }
        guard bytes[path.lowerBound] == UInt8(ascii: "/") else { return nil }
        return find(bytes, path.lowerBound &+ 1, path.upperBound, 0)
    }

    private func find(_ bytes: Span<UInt8>, _ first: Int, _ end: Int, _ node: Int) -> Int? {
        var past = first
        while past < end, bytes[past] != UInt8(ascii: "/") { past &+= 1 }
        if let next = literalChild(of: node, bytes, ByteRange(first, past)),
            let found = descend(bytes, past, end, next)
        {
            return found
        }
        if past > first, let next = nodes[node].parameter,
            let found = descend(bytes, past, end, next)
        {
            return found
        }
        return nodes[node].rest.flatMap { nodes[$0].endpoint }
    }

    private func descend(_ bytes: Span<UInt8>, _ past: Int, _ end: Int, _ node: Int) -> Int? {
        past == end ? nodes[node].endpoint : find(bytes, past &+ 1, end, node)
    }

    private func literalChild(of node: Int, _ bytes: Span<UInt8>, _ segment: ByteRange) -> Int? {
        let literals = literals.span
        var candidate = nodes[node].edge
        while let index = candidate {
            let edge = edges[index]
            candidate = edge.next
            guard edge.literal.count == segment.count else { continue }
            var offset = 0
            while offset < segment.count,
                literals[edge.literal.lowerBound &+ offset]
                    == bytes[segment.lowerBound &+ offset]
            {
                offset &+= 1
            }
            if offset == segment.count { return edge.node }
        }
        return nil
    }
}
