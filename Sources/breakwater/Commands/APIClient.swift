import CCurl
import Glibc
import JSON

/// Calls a running instance, over libcurl: TLS, proxies and Unix sockets are its business.
struct APIClient {
    struct Failure: Error, CustomStringConvertible {
        let description: String
    }

    /// `http://host:port`, or `unix:/path` as for `--listen`.
    let url: String
    let key: String?
    /// For the whole call.
    var patienceSeconds = 30

    /// The answer's status and body. Blocks.
    ///
    /// - Throws: `Failure` when no answer came, or for a status that is not 2xx with the problem's
    ///   own words.
    func call(_ method: String, _ path: String, body: [UInt8]? = nil) throws(Failure) -> [UInt8] {
        let (status, answer) = try send(method, path, body)
        if (200..<300).contains(status) { return answer }
        throw Failure(description: "\(method) \(path): \(status) \(Self.words(of: answer))")
    }

    /// Passes an answer on while it comes, however long it is; answers its last octets. Blocks.
    ///
    /// - Parameter take: gets it piece by piece; false gives up.
    /// - Throws: as `call`; then nothing was passed on, or the answer was cut off.
    func stream(
        _ path: String, to take: @escaping ([UInt8]) -> Bool
    ) throws(Failure) -> [UInt8] {
        let (status, answer) = try send("GET", path, nil, take)
        if (200..<300).contains(status) { return answer }
        throw Failure(description: "GET \(path): \(status) \(Self.words(of: answer))")
    }

    /// What came: all of it, or where it is passed on, the end of it.
    private final class Collected {
        static let limit = 16 << 20
        static let tail = 256
        let status: () -> Int
        let take: (([UInt8]) -> Bool)?
        var bytes: [UInt8] = []

        init(status: @escaping () -> Int, _ take: (([UInt8]) -> Bool)?) {
            self.status = status
            self.take = take
        }

        /// False gives up.
        func add(_ piece: [UInt8]) -> Bool {
            bytes += piece
            guard let take, status() == 200 else { return bytes.count <= Self.limit }
            bytes.removeFirst(max(0, bytes.count - Self.tail))
            return take(piece)
        }
    }

    private func send(
        _ method: String, _ path: String, _ body: [UInt8]?,
        _ take: (([UInt8]) -> Bool)? = nil
    ) throws(Failure) -> (status: Int, body: [UInt8]) {
        guard let handle = unsafe curl_easy_init() else {
            throw Failure(description: "out of memory")
        }
        defer { unsafe curl_easy_cleanup(handle) }
        var fields: UnsafeMutablePointer<curl_slist>? = nil
        defer { unsafe curl_slist_free_all(fields) }
        unsafe fields = curl_slist_append(fields, "Accept: application/json")
        if let key { unsafe fields = curl_slist_append(fields, "Authorization: Bearer \(key)") }
        if body != nil {
            unsafe fields = curl_slist_append(fields, "Content-Type: application/json")
        }
        let collected = Collected(status: { unsafe bw_curl_status(handle) }, take)
        if url.hasPrefix("unix:") {
            _ = unsafe bw_curl_set_text(
                handle, CURLOPT_UNIX_SOCKET_PATH, String(url.dropFirst("unix:".count)))
            _ = unsafe bw_curl_set_text(handle, CURLOPT_URL, "http://localhost" + path)
        } else {
            _ = unsafe bw_curl_set_text(handle, CURLOPT_URL, url + path)
        }
        _ = unsafe bw_curl_set_text(handle, CURLOPT_CUSTOMREQUEST, method)
        _ = unsafe bw_curl_set_list(handle, CURLOPT_HTTPHEADER, fields)
        _ = unsafe bw_curl_set_number(handle, CURLOPT_CONNECTTIMEOUT, 5)
        if take == nil {
            _ = unsafe bw_curl_set_number(handle, CURLOPT_TIMEOUT, patienceSeconds)
        } else {
            _ = unsafe bw_curl_set_number(handle, CURLOPT_LOW_SPEED_LIMIT, 1)
            _ = unsafe bw_curl_set_number(handle, CURLOPT_LOW_SPEED_TIME, 30)
        }
        _ = unsafe bw_curl_set_number(handle, CURLOPT_NOSIGNAL, 1)
        if let body {
            _ = unsafe bw_curl_set_number(handle, CURLOPT_POSTFIELDSIZE, body.count)
            _ = unsafe bw_curl_set_copied(handle, String(decoding: body, as: UTF8.self))
        }
        _ = unsafe bw_curl_set_writer(
            handle,
            { bytes, size, count, context in
                guard let bytes = unsafe bytes, let context = unsafe context else { return 0 }
                let collected = unsafe Unmanaged<Collected>.fromOpaque(context)
                    .takeUnretainedValue()
                let buffer = unsafe UnsafeRawBufferPointer(start: bytes, count: size * count)
                return unsafe collected.add(Array(buffer)) ? size * count : 0
            }, Unmanaged.passUnretained(collected).toOpaque())
        let code = withExtendedLifetime(collected) { unsafe curl_easy_perform(handle) }
        guard code == CURLE_OK else {
            let reason = unsafe String(cString: curl_easy_strerror(code))
            throw Failure(description: "\(url): \(reason). Is `breakwater serve` running there?")
        }
        return (unsafe bw_curl_status(handle), collected.bytes)
    }

    /// What a problem says, for people: its title, which member is wrong, and how.
    private static func words(of answer: [UInt8]) -> String {
        guard let problem = try? JSONReader.decode(Document.self, from: answer).value,
            case .string(let title)? = problem["title"]
        else { return String(decoding: answer.prefix(200), as: UTF8.self) }
        guard case .string(let detail)? = problem["detail"] else { return title }
        return title + ": " + detail
    }
}

/// Any JSON document.
struct Document: JSONReadable {
    let value: JSONValue
    init(from reader: inout JSONReader) throws(JSONError) { value = try reader.readValue() }
}
