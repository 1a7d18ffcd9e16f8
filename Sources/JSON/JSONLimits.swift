/// How much a reader takes before it refuses, whatever the document is for.
///
/// RFC 8259 section 9 lets a parser bound size, depth, numbers and strings. A reader of a known
/// field bounds it more tightly by itself (`readString(maxBytes:)`, `readArray(maxCount:)`).
package struct JSONLimits: Hashable, Sendable {
    package static let `default` = JSONLimits()

    /// Octets of the whole document.
    package let maxBytes: Int

    /// Arrays and objects inside one another; at most 512, since reading them nests calls.
    package let maxDepth: Int

    /// Octets of one string or member name, unescaped, in UTF-8.
    package let maxStringBytes: Int

    /// Octets of one number as written; a `Double` has at most 1,077 significant digits.
    package let maxNumberBytes: Int

    /// Members of one object.
    package let maxMembers: Int

    /// Elements of one array, where its reader gives no other count.
    package let maxElements: Int

    /// Whether an object with the same name twice is refused (RFC 7493 section 2.3).
    ///
    /// RFC 8259 section 4 only says that such an object means different things to different
    /// parsers. For documents of others that have to be read all the same, false hands every such
    /// member to `readObject`'s closure.
    package let refusesDuplicateKeys: Bool

    package init(
        maxBytes: Int = 1 << 20,
        maxDepth: Int = 64,
        maxStringBytes: Int = 1 << 18,
        maxNumberBytes: Int = 1 << 10,
        maxMembers: Int = 1 << 12,
        maxElements: Int = 1 << 16,
        refusesDuplicateKeys: Bool = true
    ) {
        precondition((1...Int(Int32.max)).contains(maxBytes), "maxBytes is 1 to 2^31 - 1")
        precondition((0...512).contains(maxDepth), "maxDepth is 0 to 512")
        precondition(min(maxStringBytes, maxNumberBytes, maxMembers, maxElements) >= 0)
        self.maxBytes = maxBytes
        self.maxDepth = maxDepth
        self.maxStringBytes = maxStringBytes
        self.maxNumberBytes = maxNumberBytes
        self.maxMembers = maxMembers
        self.maxElements = maxElements
        self.refusesDuplicateKeys = refusesDuplicateKeys
    }
}
