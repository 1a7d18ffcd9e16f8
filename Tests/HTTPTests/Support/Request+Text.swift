import HTTP
import IO

/// The first request in a text.
func request(_ text: String, peer: IPAddress? = nil) throws(Refusal) -> Request? {
    var first: Request?
    var reader = MessageReader(peer: peer, random: RandomSource(seed: 7))
    try reader.feed(Array(text.utf8)) { if first == nil { first = $0 } }
    return first
}
