internal import CCurl
internal import IO

/// How libcurl is driven: by our epoll and our timers, on the loop.
extension HTTPClient {
    static func at(
        _ context: UnsafeMutableRawPointer?, _ act: @Sendable (isolated HTTPClient) -> Void
    ) -> Int32 {
        guard let context = unsafe context else { return 0 }
        let client = unsafe Unmanaged<HTTPClient>.fromOpaque(context).takeUnretainedValue()
        client.assumeIsolated { act($0) }
        return 0
    }

    /// Tells libcurl that a descriptor is ready, or its timer due, and takes what ended by that.
    func drive(_ descriptor: Int32, _ mask: Int32) {
        var running: Int32 = 0
        _ = unsafe curl_multi_socket_action(multi, descriptor, mask, &running)
        var left: Int32 = 0
        while let message = unsafe curl_multi_info_read(multi, &left) {
            // The message goes with its handle: read it first.
            let (handle, code) = unsafe (message.pointee.easy_handle, message.pointee.data.result)
            guard let id = ids[Int(bitPattern: handle)], let transfer = transfers[id]
            else { continue }
            end(transfer, code)
        }
    }

    private func end(_ transfer: Transfer, _ code: CURLcode) {
        finish(transfer, code == CURLE_OK ? nil : transfer.failure(code))
    }

    func finish(_ transfer: Transfer, _ failure: Failure?) {
        unsafe curl_multi_remove_handle(multi, transfer.handle)
        transfers[transfer.id] = nil
        ids[transfer.address] = nil
        tally.connections += transfer.facts.tries - transfer.facts.reuses
        tally.reuses += transfer.facts.reuses
        count(failure)
        transfer.finish(failure.map { .failure($0) } ?? .success(()))
    }

    func count(_ failure: Failure?) {
        let outcome = Counters.Outcome(kind: failure?.kind, phase: failure?.phase)
        tally.calls[outcome, default: 0] += 1
    }

    /// A reader made room. What libcurl held back is delivered inside the call.
    func resume(_ transfer: Transfer) {
        transfer.isPaused = false
        let code = unsafe curl_easy_pause(transfer.handle, CURLPAUSE_CONT)
        // What it could not deliver is lost: the rest must not pass for the whole body.
        if code != CURLE_OK { end(transfer, code) }
    }

    func setTimer(_ milliseconds: Int) {
        if milliseconds < 0 {
            curlTimer.clear()
        } else if milliseconds == 0 {
            // At once: as a timer it would wait until what is ready by then has been served. Not from within
            // libcurl's own call.
            curlTimer.clear()
            loop.execute { [weak self] in
                self?.assumeIsolated { $0.drive(CURL_SOCKET_TIMEOUT, 0) }
            }
        } else {
            curlTimer.set(.now.advanced(by: .milliseconds(milliseconds)), on: loop)
        }
    }

    /// libcurl takes its descriptor off before it closes it, so that none is watched after its number
    /// went to another owner.
    func watch(_ descriptor: Int32, _ what: Int32) {
        var events: Events = []
        switch what {
        case CURL_POLL_IN: events = [.readable]
        case CURL_POLL_OUT: events = [.writable]
        case CURL_POLL_INOUT: events = [.readable, .writable]
        default:
            if watches.removeValue(forKey: descriptor) != nil {
                loop.deregister(descriptor: descriptor)
            }
            return
        }
        // What cannot be watched ends by its deadline.
        if watches[descriptor] != nil {
            try? loop.modify(descriptor: descriptor, events: events, edgeTriggered: false)
        } else {
            let watch = Watch(descriptor, self)
            watches[descriptor] = watch
            try? loop.register(
                watch, descriptor: descriptor, events: events, edgeTriggered: false)
        }
    }

    /// One descriptor of libcurl's.
    final class Watch: Source {
        private let descriptor: Int32
        private unowned let client: HTTPClient

        init(_ descriptor: Int32, _ client: HTTPClient) {
            self.descriptor = descriptor
            self.client = client
        }

        func ready(_ events: Events) {
            let mask = Self.mask(events)
            client.assumeIsolated { [descriptor] in $0.drive(descriptor, mask) }
        }

        private static func mask(_ events: Events) -> Int32 {
            var mask: Int32 = 0
            if !events.isDisjoint(with: [.readable, .readHangup, .hangup]) {
                mask |= CURL_CSELECT_IN
            }
            if events.contains(.writable) { mask |= CURL_CSELECT_OUT }
            if events.contains(.error) { mask |= CURL_CSELECT_ERR }
            return mask
        }
    }
}
