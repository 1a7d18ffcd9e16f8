internal import IO

extension HTTPClient {
    /// An answer whose body is read as it comes. What is not read holds the sender back; who drops
    /// the stream ends the call.
    package final class BodyStream: Sendable {
        package let head: Head
        private let client: HTTPClient
        private let id: Int

        init(head: Head, client: HTTPClient, id: Int) {
            self.head = head
            self.client = client
            self.id = id
        }

        deinit {
            client.loop.execute { [client, id] in client.assumeIsolated { $0.drop(id) } }
        }

        /// What is still to come is of no interest: it is read away for a quarter of a second, and if that was
        /// all the connection is kept for the next call. Who lets go of a stream without this ends the connection.
        package func leave() async { await client.leave(id) }

        /// The next octets, at least one; nil at the sound end of the body. One task reads.
        ///
        /// - Throws: the call's failure, in the phase `body`. What came before it was handed out.
        package func next() async throws(Failure) -> [UInt8]? {
            try await client.piece(of: id)
        }
    }
}
