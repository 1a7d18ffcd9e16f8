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

    /// The answer's status and body. Blocks.
    ///
    /// - Throws: `Failure` when no answer came, or for a status that is not 2xx with the problem's
    ///   own words.
    func call(_ method: String, _ path: String, body: [UInt8]? = nil) throws(Failure) -> [UInt8] {
        let (status, answer) = try send(method, path, body)
        if (200..<300).contains(status) { return answer }
        throw Failure(description: "\(method) \(path): \(status) \(Self.words(of: answer))")
    }

    private final class Collected { var bytes: [UInt8] = [] }

    private func send(
        _ method: String, _ path: String, _ body: [UInt8]?
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
        let collected = Collected()
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
        _ = unsafe bw_curl_set_number(handle, CURLOPT_TIMEOUT, 30)
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
                unsafe collected.bytes.append(contentsOf: buffer)
                return collected.bytes.count > 16 << 20 ? 0 : size * count
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
        guard case .string(var detail)? = problem["detail"] else { return title }
        if case .array(let errors)? = problem["errors"], errors.count == 1,
            case .string(let pointer)? = errors[0]["pointer"], pointer.hasPrefix("/"),
            errors[0]["detail"] == .string(detail)
        {
            detail = pointer.dropFirst() + " " + detail
        }
        return title + ": " + detail
    }
}

/// Any JSON document.
struct Document: JSONReadable {
    let value: JSONValue
    init(from reader: inout JSONReader) throws(JSONError) { value = try reader.readValue() }
}
