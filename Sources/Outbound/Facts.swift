internal import CCurl
internal import Glibc
internal import IO

/// What is known of one call while libcurl has it; `HTTPClient.Phase` says where each comes from.
struct Facts {
    /// The connection may turn out to speak HTTP/2, whose buffer hides what the kernel took.
    let mayBeHTTP2: Bool

    var hasLookedUp = false
    var sockets = 0
    var hasTLSBegun = false
    /// The first address that the rule refused.
    var refused: (address: IPAddress, scope: AddressRule.Scope)?
    /// How often the gate was passed: 2 and more are repetitions by libcurl.
    var tries = 0
    /// How often on a connection that stood already.
    var reuses = 0
    /// Sockets when the gate was passed last.
    var socketsBefore = 0
    /// libcurl began to send a request again that may be sent once only.
    var wasRepetitionRefused = false
    /// libcurl took the last octet of the body, or there is none.
    var isBodyTaken: Bool
    var hasHeadBegun = false
    var hasHeadEnded = false
    var isTooLarge = false

    /// Read from libcurl at the end: octets of heads that were written, of all tries together.
    var headWritten = 0

    var phase: HTTPClient.Phase {
        if hasHeadEnded { return .body }
        if hasHeadBegun { return .head }
        if tries > 0 { return isWholeRequestOut ? .awaitingHead : .sending }
        if hasTLSBegun { return .tls }
        if sockets > 0 || refused != nil { return .connect }
        return hasLookedUp ? .resolve : .waiting
    }

    private var isWholeRequestOut: Bool { isBodyTaken && (mayBeHTTP2 || headWritten > 0) }

    /// What ended the call, from libcurl's code, `errno` of the connection's last failure, and
    /// OpenSSL's X509_V_ERR code (where libcurl's own check of the name failed: 0, or 1, which is
    /// what libcurl 7.88 sets before it has looked).
    func kind(_ code: CURLcode, errno: Int32, verify: Int) -> HTTPClient.Kind {
        if isTooLarge { return .tooLarge }
        if wasRepetitionRefused { return .reset }
        return switch code {
        case CURLE_COULDNT_RESOLVE_HOST, CURLE_COULDNT_RESOLVE_PROXY: .name
        case CURLE_COULDNT_CONNECT:
            switch errno {
            case _ where sockets == 0 && refused != nil: .addressRefused
            case ECONNREFUSED: .refused
            case ECONNRESET: .reset
            default: .unreachable
            }
        case CURLE_OPERATION_TIMEDOUT: .timedOut
        case CURLE_PEER_FAILED_VERIFICATION:
            switch verify {
            case 0, 1, 62: .wrongHost  // X509_V_ERR_HOSTNAME_MISMATCH
            case 9, 10: .expired  // X509_V_ERR_CERT_NOT_YET_VALID, _HAS_EXPIRED
            default: .untrusted
            }
        case CURLE_SSL_CONNECT_ERROR: errno == ECONNRESET ? .reset : .tls
        case CURLE_SSL_CERTPROBLEM, CURLE_SSL_CIPHER, CURLE_SSL_CACERT_BADFILE,
            CURLE_SSL_ISSUER_ERROR, CURLE_SSL_INVALIDCERTSTATUS:
            .tls
        case CURLE_SEND_ERROR, CURLE_RECV_ERROR, CURLE_GOT_NOTHING, CURLE_PARTIAL_FILE,
            CURLE_SEND_FAIL_REWIND, CURLE_HTTP2_STREAM, CURLE_HTTP2:
            .reset
        case CURLE_FILESIZE_EXCEEDED: .tooLarge
        case CURLE_OUT_OF_MEMORY, CURLE_FAILED_INIT: .outOfMemory
        default: .protocol
        }
    }
}
