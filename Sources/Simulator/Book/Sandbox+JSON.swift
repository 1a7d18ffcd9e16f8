import IO
package import JSON

extension Sandbox {
    /// As the book shows it; times in milliseconds since the simulator's start.
    package func writeLife(to writer: inout JSONWriter, now: Duration) {
        writer.object { json in
            json.member("number", number)
            json.member("sandboxID", id)
            json.member("region", region)
            json.member("keyId", keyID)
            json.member("template", template)
            json.member("metadata", metadata)
            json.member("idempotencyKey", ifPresent: idempotencyKey)
            json.member("state", state.rawValue)
            json.member("createdAtMs", createdAt.milliseconds)
            json.member("endAtMs", endAt.milliseconds)
            json.member("endedAtMs", ifPresent: endedAt?.milliseconds)
            json.member("endReason", ifPresent: end?.rawValue)
            json.member("ranMs", ran(until: now).milliseconds)
            json.member("pauses", pauses)
            json.member("answered", isAnswered)
            json.member("zombie", ifPresent: zombie?.rawValue)
            json.member("vanishesAtMs", ifPresent: vanishesAt?.milliseconds)
        }
    }
}
