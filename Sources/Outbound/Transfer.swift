internal import CCurl
internal import Glibc
internal import IO

/// One call in libcurl's hands: its handle, what its callbacks learnt, and what has come of the
/// answer. Belongs to the client's loop, where libcurl calls back.
///
/// The callbacks only note and copy; none changes anything in libcurl, and who waits is resumed later,
/// by the loop.
@safe final class Transfer {
    /// What becomes of the body.
    enum Delivery: Equatable {
        case whole(limit: Int)
        /// In pieces, as they are asked for: `buffer` octets are held, then the sender waits.
        case pieces(limit: Int, buffer: Int)
    }

    let id: Int
    let handle: UnsafeMutableRawPointer
    /// The handle's, for looking it up; the next call's may be the same.
    var address: Int { unsafe Int(bitPattern: handle) }
    private(set) var deadline: MonotonicInstant
    let isRepeatable: Bool
    let delivery: Delivery
    let rule: AddressRule
    let headLimit: Int
    private var fields: UnsafeMutablePointer<curl_slist>?
    private let message: UnsafeMutablePointer<CChar>

    var facts: Facts
    let requestBody: [UInt8]
    /// Octets of it that libcurl took, of this try.
    var bodyTaken = 0

    var headBytes = 0
    var headFields: [HTTPClient.Field] = []
    var head: HTTPClient.Head?
    /// Of the answer, not handed out yet.
    var body: [UInt8] = []
    var received = 0
    /// libcurl was told to wait until there is room.
    var isPaused = false
    /// What still comes is thrown away.
    private(set) var isLeft = false
    /// Set once, when libcurl has let go of it.
    private(set) var outcome: Result<Void, HTTPClient.Failure>?
    /// The one task that waits for any of the above to change.
    private let changed = Waiter<Void>()

    init(
        id: Int, _ request: HTTPClient.Request, _ delivery: Delivery, deadline: MonotonicInstant,
        _ settings: HTTPClient.Settings
    ) throws(HTTPClient.Failure) {
        guard let handle = unsafe curl_easy_init() else {
            throw HTTPClient.Failure(.waiting, .outOfMemory, "no handle for a call")
        }
        unsafe self.handle = unsafe handle
        self.id = id
        self.deadline = deadline
        self.delivery = delivery
        isRepeatable = request.isRepeatable
        rule = settings.addresses
        headLimit = settings.headBytes
        requestBody = request.body ?? []
        unsafe message = .allocate(capacity: Int(CURL_ERROR_SIZE))
        unsafe message.initialize(repeating: 0, count: Int(CURL_ERROR_SIZE))
        var isWhole = true
        if case .pieces = delivery { isWhole = false }
        facts = Facts(
            mayBeHTTP2: request.url.scheme == .https && settings.allowsHTTP2 && isWhole,
            isBodyTaken: requestBody.isEmpty)
        guard configure(request, settings) else {
            throw HTTPClient.Failure(.waiting, .outOfMemory, "libcurl took no options")
        }
    }

    deinit {
        unsafe curl_easy_cleanup(handle)
        unsafe curl_slist_free_all(fields)
        unsafe message.deallocate()
    }

    // MARK: The loop's side

    /// Waits for news: a head, octets, the end. News that came before is kept, so who looks, waits
    /// and looks again misses none.
    func change() async { await changed.wait() }

    func tell() { changed.resume(()) }

    /// Notes the end. libcurl must have let go of the handle.
    func finish(_ outcome: Result<Void, HTTPClient.Failure>) {
        self.outcome = outcome
        tell()
    }

    /// Nobody reads the rest, which has until then to come.
    func leave(until end: MonotonicInstant) {
        isLeft = true
        deadline = min(deadline, end)
        body = []
    }

    /// What has come and was not taken yet. Go on with libcurl if `isPaused` says so.
    func takeBody() -> [UInt8] {
        defer { body = [] }
        return body
    }

    /// libcurl's code as a failure. Before the handle is removed: what libcurl knows goes with it.
    func failure(_ code: CURLcode) -> HTTPClient.Failure {
        readFacts()
        let errno = Int32(unsafe bw_curl_number(handle, CURLINFO_OS_ERRNO))
        let verify = unsafe bw_curl_number(handle, CURLINFO_SSL_VERIFYRESULT)
        var kind = facts.kind(code, errno: errno, verify: verify)
        var detail = unsafe String(cString: message)
        if detail.isEmpty { detail = unsafe String(cString: curl_easy_strerror(code)) }
        // A handshake that the other side broke off has no code of its own, nor an errno.
        if kind == .tls, detail.contains("SSL_ERROR_SYSCALL") || detail.contains("reset by peer") {
            kind = .reset
        }
        if kind == .addressRefused, let refused = facts.refused {
            detail =
                "\(refused.address) is a \(refused.scope.rawValue) address; "
                + "BREAKWATER_ALLOW_PRIVATE_UPSTREAMS decides on private ones"
        }
        if facts.wasRepetitionRefused {
            detail = "the connection ended before an answer came; not sent again"
        }
        return HTTPClient.Failure(facts.phase, kind, detail)
    }

    /// The end that we set: the deadline, a cancelled task.
    func failure(_ kind: HTTPClient.Kind, _ detail: String) -> HTTPClient.Failure {
        readFacts()
        return HTTPClient.Failure(facts.phase, kind, detail)
    }

    private func readFacts() {
        facts.headWritten = unsafe bw_curl_number(handle, CURLINFO_REQUEST_SIZE)
    }
}

// MARK: Options

extension Transfer {
    private func configure(_ request: HTTPClient.Request, _ settings: HTTPClient.Settings) -> Bool {
        let isTake = unsafe [
            bw_curl_set_http_only(handle), bw_curl_set_quick_exit(handle),
            bw_curl_set_error_buffer(handle, message),
            text(CURLOPT_URL, request.url.description),
            text(CURLOPT_CUSTOMREQUEST, request.method),
            number(CURLOPT_NOSIGNAL, 1), number(CURLOPT_PATH_AS_IS, 1),
            number(CURLOPT_TCP_KEEPALIVE, 1),
            // The least there is. Of 64 KiB, the default, each call with a body had malloc tidy up all that is free.
            number(CURLOPT_UPLOAD_BUFFERSIZE, 16_384),
            number(CURLOPT_CONNECTTIMEOUT_MS, Int(settings.connectTimeout.milliseconds)),
            number(CURLOPT_MAXAGE_CONN, Int(settings.idle.components.seconds)),
            number(CURLOPT_SSLVERSION, Int(CURL_SSLVERSION_TLSv1_2)),
            number(CURLOPT_SSL_VERIFYPEER, 1), number(CURLOPT_SSL_VERIFYHOST, 2),
            number(
                CURLOPT_HTTP_VERSION,
                facts.mayBeHTTP2 ? Int(CURL_HTTP_VERSION_2TLS) : Int(CURL_HTTP_VERSION_1_1)),
            settings.usesEnvironmentProxy ? CURLE_OK : text(CURLOPT_PROXY, ""),
            // Without a file the system's folder of CAs, of which OpenSSL reads the one that it needs:
            // libcurl's bundle of all takes the loop 17 ms for each connection (OpenSSL 3.0).
            text(CURLOPT_CAINFO, settings.caFile),
            number(CURLOPT_FRESH_CONNECT, request.needsFreshConnection ? 1 : 0),
            setMethod(request), setFields(request),
            bw_curl_set_size(handle, CURLOPT_MAXFILESIZE_LARGE, curl_off_t(bodyLimit)),
        ].allSatisfy { $0 == CURLE_OK }
        return isTake && setCallbacks()
    }

    var bodyLimit: Int {
        switch delivery {
        case .whole(let limit), .pieces(let limit, _): limit
        }
    }

    private func text(_ option: CURLoption, _ value: String?) -> CURLcode {
        unsafe bw_curl_set_text(handle, option, value)
    }

    private func number(_ option: CURLoption, _ value: Int) -> CURLcode {
        unsafe bw_curl_set_number(handle, option, value)
    }

    private func setMethod(_ request: HTTPClient.Request) -> CURLcode {
        if request.method == "HEAD" { return number(CURLOPT_NOBODY, 1) }
        if request.body == nil && request.method != "POST" { return number(CURLOPT_HTTPGET, 1) }
        let code = number(CURLOPT_POST, 1)
        if code != CURLE_OK { return code }
        return unsafe bw_curl_set_size(
            handle, CURLOPT_POSTFIELDSIZE_LARGE, curl_off_t(requestBody.count))
    }

    /// libcurl's own fields that the caller did not ask for are taken away: `Expect` above all,
    /// which would hold a body back for a second.
    private func setFields(_ request: HTTPClient.Request) -> CURLcode {
        var lines = request.fields.map(\.line)
        for name in ["Accept", "Content-Type", "Expect"]
        where !request.fields.contains(where: { $0.name.lowercased() == name.lowercased() }) {
            lines.append("\(name):")
        }
        for line in lines {
            guard let longer = unsafe curl_slist_append(fields, line) else {
                return CURLE_OUT_OF_MEMORY
            }
            unsafe fields = unsafe longer
        }
        return unsafe bw_curl_set_list(handle, CURLOPT_HTTPHEADER, fields)
    }
}
