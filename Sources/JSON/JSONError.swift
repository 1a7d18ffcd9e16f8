/// Why a document was refused, and where: one refusal, the first that the reader met.
///
/// `message` names what was expected and never repeats the document's own text, so that it may be
/// logged; `pointer` does hold member names that the sender chose.
package struct JSONError: Error, Hashable, Sendable {
    /// What rule the document broke; stable, for callers to switch on.
    package enum Code: String, Hashable, Sendable, CaseIterable {
        /// Not JSON by the grammar of RFC 8259.
        case syntax
        /// Octets that are not UTF-8 (RFC 3629), or an escaped surrogate without its other half.
        case invalidUTF8
        /// The same member name twice in one object, compared after unescaping.
        case duplicateKey
        /// Nested deeper than `JSONLimits.maxDepth`.
        case depth
        /// The document is longer than `JSONLimits.maxBytes`.
        case size
        /// A string, member name or number is longer than allowed, or shorter than its reader asks.
        case length
        /// More members or elements than allowed, or fewer than their reader asks.
        case count
        /// JSON, but not of the kind that was asked for.
        case type
        /// Of the right kind, but outside the values that are allowed.
        case range
        /// A member that the object does not have.
        case unknownField
        /// A member that the object must have.
        case missingField
    }

    package let code: Code

    /// The offending value as a JSON Pointer (RFC 6901), "" for the whole document.
    ///
    /// Unknown and duplicate members are named themselves, a missing one by its object. A pointer
    /// of more than 1,024 octets is cut to an enclosing value's.
    package let pointer: String

    /// Where reading stopped, in octets from the document's start.
    package let offset: Int

    /// For a person: what was expected, in one phrase without a full stop.
    package let message: String

    package init(_ code: Code, at pointer: String, offset: Int, _ message: String) {
        self.code = code
        self.pointer = pointer
        self.offset = offset
        self.message = message
    }
}

extension JSONError: CustomStringConvertible {
    package var description: String {
        "\(code) at \(pointer.isEmpty ? "the root" : pointer), octet \(offset): \(message)"
    }
}
