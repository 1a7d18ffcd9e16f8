// Classes of cases after the public lists (Http11Probe, h1spec, smuggler, http-garden), in our own
// words, accepted beside refused.

private let host = "Host: a\r\n"

let requestLineCases: [ParserCase] =
    [
        .accepted("plain", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        .accepted("any token is a method", "M!#$%&'*+-.^_`|~9 / HTTP/1.1\r\nHost: a\r\n\r\n"),
        .accepted("lower case is another method", "get / HTTP/1.1\r\nHost: a\r\n\r\n"),
        .accepted("minor versions count as 1.1", "GET / HTTP/1.9\r\nHost: a\r\n\r\n"),
        .accepted("1.0 without Host", "GET / HTTP/1.0\r\n\r\n"),
        .accepted("one empty line before", "\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        .accepted("two empty lines before", "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        .accepted(
            "two pipelined",
            "GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n",
            ["/1", "/2"]),
        .incomplete("nothing but CR", "\r"),
        .incomplete("no line end", "GET / HTTP/1.1"),
        .incomplete("no empty line", "GET / HTTP/1.1\r\nHost: a\r\n"),
        .incomplete("half an empty line", "GET / HTTP/1.1\r\nHost: a\r\n\r"),
        .refused("three empty lines before", 400, "\r\n\r\n\r\nGET / HTTP/1.1\r\n\(host)\r\n"),
        .refused("bare LF before", 400, "\nGET / HTTP/1.1\r\n\(host)\r\n"),
        .refused("bare CR before", 400, "\rGET / HTTP/1.1\r\n\(host)\r\n"),
        .refused("blank before", 400, " GET / HTTP/1.1\r\n\(host)\r\n"),
        .refused("two spaces", 400, "GET  / HTTP/1.1\r\n\(host)\r\n"),
        .refused("two spaces before the version", 400, "GET /  HTTP/1.1\r\n\(host)\r\n"),
        .refused("tab", 400, "GET\t/ HTTP/1.1\r\n\(host)\r\n"),
        .refused("tab before the version", 400, "GET /\tHTTP/1.1\r\n\(host)\r\n"),
        .refused("vertical tab", 400, "GET\u{0B}/ HTTP/1.1\r\n\(host)\r\n"),
        .refused("blank at the end", 400, "GET / HTTP/1.1 \r\n\(host)\r\n"),
        .refused("a fourth word", 400, "GET / HTTP/1.1 x\r\n\(host)\r\n"),
        .refused("no version (0.9)", 400, "GET /\r\n"),
        .refused("no target", 400, "GET HTTP/1.1\r\n\(host)\r\n"),
        .refused("method only", 400, "GET\r\n"),
        .refused("empty method", 400, " / HTTP/1.1\r\n\(host)\r\n"),
        .refused("method with a bracket", 400, "G(T / HTTP/1.1\r\n\(host)\r\n"),
        .refused("method above ASCII", 400, "G\u{C9}T / HTTP/1.1\r\n\(host)\r\n"),
        .refused("NUL in the method", 400, "G\0T / HTTP/1.1\r\n\(host)\r\n"),
        .refused("bare LF", 400, "GET / HTTP/1.1\n\(host)\r\n"),
        .refused("CR CR LF", 400, "GET / HTTP/1.1\r\r\n\(host)\r\n"),
        .refused("bare CR inside", 400, "GET /\r HTTP/1.1\r\n\(host)\r\n"),
        .refused("TLS hello", 400, "\u{16}\u{03}\u{01}\u{00}\u{A5}\u{01}\r\n"),
        .refused("lower case version", 400, "GET / http/1.1\r\n\(host)\r\n"),
        .refused("version of three digits", 400, "GET / HTTP/1.10\r\n\(host)\r\n"),
        .refused("version without minor", 400, "GET / HTTP/1\r\n\(host)\r\n"),
        .refused("version with a comma", 400, "GET / HTTP/1,1\r\n\(host)\r\n"),
        .refused("version with a letter", 400, "GET / HTTP/1.x\r\n\(host)\r\n"),
        .refused("another protocol", 400, "GET / HTTQ/1.1\r\n\(host)\r\n"),
        .refused("HTTP/2 preface", 505, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
        .refused("0.9 spelled out", 505, "GET / HTTP/0.9\r\n\(host)\r\n"),
        .refused("3.0", 505, "GET / HTTP/3.0\r\n\(host)\r\n"),
        .refused("CONNECT", 501, "CONNECT a:443 HTTP/1.1\r\n\(host)\r\n"),
    ]

let targetCases: [ParserCase] =
    [
        "/", "/a/b", "/a//b", "/a;b=c", "/a:@!$&'()*+,=~._-", "/%41%C3%A9", "/a?", "/?a=b&c",
        "/?a/b?c",
        "/?x[]=1&y={2}|^`", "/?a=%20+%C3%A9", "/.a/..b/...", "//a", "/a.", "/a%20b",
    ].map {
        .accepted("target \($0)", "GET \($0) HTTP/1.1\r\n\(host)\r\n", [$0 == "/a?" ? "/a" : $0])
    }
    + [
        .accepted("OPTIONS *", "OPTIONS * HTTP/1.1\r\n\(host)\r\n", ["*"]),
        .accepted("absolute", "GET http://b/x?y HTTP/1.1\r\n\(host)\r\n", ["/x?y"]),
        .accepted("absolute, https, port", "GET HTTPS://b:8443/x HTTP/1.1\r\n\(host)\r\n", ["/x"]),
        .accepted("absolute without path", "GET http://b HTTP/1.1\r\n\(host)\r\n", ["/"]),
        .accepted("absolute with query only", "GET http://b?x HTTP/1.1\r\n\(host)\r\n", ["/?x"]),
        .accepted("absolute for OPTIONS *", "OPTIONS http://b:1 HTTP/1.1\r\n\(host)\r\n", ["*"]),
        .accepted("absolute, IPv6", "GET http://[::1]:80/ HTTP/1.1\r\n\(host)\r\n", ["/"]),
        .refused("absolute does not spare Host", 400, "GET http://b/ HTTP/1.1\r\n\r\n"),
    ]
    + [
        "*", "a", "a/b", "http:/b", "http://", "http:///x", "http://u@b/", "http://u:p@b/",
        "ftp://b/",
        "http://b:x/", "http://b:123456/", "http://[::1/", "http://b#c", "b:80", "/#a", "/a#",
        "/\\",
        "/a\"b", "/<a>", "/a{b}", "/a|b", "/a^b", "/a`b", "/[a]", "/?a#b", "/?\"", "/?<", "/?\\",
        "/%",
        "/%4", "/%zz", "/%4g", "/%00", "/a%2Fb", "/a%2fb", "/%0d%0a", "/%7F", "/%ff", "/%C3",
        "/%C3%28",
        "/%c0%af", "/%ed%a0%80", "/.", "/..", "/a/./b", "/a/../b", "/a/..", "/%2e", "/%2E%2e/a",
        "/.%2e/x", "/?%", "/?%0", "/?%zz", "/?%00", "/?%ff", "/\u{E9}", "/?\u{E9}", "/a\0b",
        "/a\u{7F}",
        "/a\u{01}b",
    ].map { .refused("target \($0.debugDescription)", 400, "GET \($0) HTTP/1.1\r\n\(host)\r\n") }

let fieldCases: [ParserCase] =
    [
        "Host: a\r\n", "host:a\r\n", "HOST: \t a \t \r\n", "Host: a:80\r\n", "Host: a:\r\n",
        "Host: 127.0.0.1:8080\r\n", "Host: [::1]\r\n", "Host: [::1]:80\r\n", "Host: a-b.c_d~e\r\n",
        "Host: %41.b\r\n", "\(host)X:\r\n", "\(host)X: \r\n", "\(host)X: a b\tc\r\n",
        "\(host)X: \u{80}\u{FF}\r\n", "\(host)X: a:b: c\r\n", "\(host)X: 1\r\nX: 2\r\n",
        "\(host)!#$%&'*+-.^_`|~1: x\r\n", "\(host)Cookie: a=b; c=\"d\"\r\n", "\(host)X: \"\\\"\r\n",
        "\(host)Traceparent: x\r\ntraceparent: y\r\n",
    ].map { .accepted("fields \($0.debugDescription)", "GET / HTTP/1.1\r\n\($0)\r\n") }
    + [
        "", "X: y\r\n", "Host:\r\n", "Host: \r\n", "Host: a\r\nHost: a\r\n",
        "Host: a\r\nhost: b\r\n",
        "Host: a,b\r\n", "Host: a b\r\n", "Host: a/b\r\n", "Host: u@a\r\n", "Host: a:b\r\n",
        "Host: a:123456\r\n", "Host: :80\r\n", "Host: [::1\r\n", "Host: []\r\n", "Host: [::1]x\r\n",
        "Host: a:80:80\r\n", "Host: a%4\r\n", "Host: \u{E9}\r\n", "Host: a\0\r\n", "Host : a\r\n",
        "Host\t: a\r\n", " Host: a\r\n", "Host: a\r\n b\r\n", "Host: a\r\n\tb\r\n",
        "\(host): x\r\n",
        "\(host)X\r\n", "\(host)X y: z\r\n", "\(host)X\u{E9}: y\r\n", "\(host)X(: y\r\n",
        "\(host)X: a\0b\r\n", "\(host)X: a\u{01}b\r\n", "\(host)X: a\u{7F}b\r\n",
        "\(host)X: a\rb\r\n",
        "\(host)X: a\r\r\n", "\(host)X: a\u{0B}\r\n", "\(host)X: a\n", "\(host)X: a\nY: b\r\n",
        "Host: a\n", "\(host)\rX: y\r\n", "\(host)\"X\": y\r\n", "\(host)X;: y\r\n",
        "\(host)Authorization: a\r\nAuthorization: b\r\n",
        "\(host)X-API-Key: a\r\nx-api-key: a\r\n",
        "\(host)Content-Type: a\r\nContent-Type: b\r\n",
        "\(host)Idempotency-Key: a\r\nIdempotency-Key: a\r\n",
    ].map { .refused("fields \($0.debugDescription)", 400, "GET / HTTP/1.1\r\n\($0)\r\n") }
    + [
        .refused("two Hosts in 1.0", 400, "GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n"),
        .refused("empty line ends with bare LF", 400, "GET / HTTP/1.1\r\nHost: a\r\n\n"),
    ]

let framingCases: [ParserCase] =
    [
        .accepted("no body", "POST / HTTP/1.1\r\n\(host)\r\n"),
        .accepted("empty body", "POST / HTTP/1.1\r\n\(host)Content-Length: 0\r\n\r\n"),
        .accepted(
            "length", "POST / HTTP/1.1\r\n\(host)Content-Length: 3\r\n\r\nabc", bodies: ["abc"]),
        .accepted(
            "leading zeros", "POST / HTTP/1.1\r\n\(host)Content-Length: 003\r\n\r\nabc",
            bodies: ["abc"]),
        .accepted(
            "blanks around", "POST / HTTP/1.1\r\n\(host)Content-Length: \t3 \r\n\r\nabc",
            bodies: ["abc"]),
        .accepted(
            "GET with a body", "GET / HTTP/1.1\r\n\(host)Content-Length: 1\r\n\r\na", bodies: ["a"]),
        .accepted(
            "1.0 with a body", "POST / HTTP/1.0\r\nContent-Length: 1\r\n\r\na", bodies: ["a"]),
        .accepted(
            "the next one begins behind the body",
            "POST /1 HTTP/1.1\r\n\(host)Content-Length: 2\r\n\r\n\r\nGET /2 HTTP/1.1\r\n\(host)\r\n",
            ["/1", "/2"], bodies: ["\r\n", ""]),
        .accepted(
            "chunked",
            "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            bodies: ["abc"]),
        .accepted(
            "chunked in capitals",
            "POST / HTTP/1.1\r\n\(host)TRANSFER-ENCODING: CHUNKED\r\n\r\n0\r\n\r\n"),
        .accepted(
            "Expect does not change framing",
            "POST / HTTP/1.1\r\n\(host)Expect: y 100-continue\r\nContent-Length: 1\r\n\r\na",
            bodies: ["a"]),
        .incomplete("half a body", "POST / HTTP/1.1\r\n\(host)Content-Length: 3\r\n\r\nab"),
        .refused("too large", 413, "POST / HTTP/1.1\r\n\(host)Content-Length: 1048577\r\n\r\n"),
    ]
    + [
        "", "-1", "+5", "0x5", "0_5", "5 5", "5,5", "5, 5", "5;", "1e1", "5.0", "\u{B2}", " -0",
        "9999999999999999999", "18446744073709551616", "1234567890123456789", "abc", "\"5\"", "5\0",
    ].map {
        .refused(
            "Content-Length \($0.debugDescription)", 400,
            "POST / HTTP/1.1\r\n\(host)Content-Length: \($0)\r\n\r\nabcde")
    }
    + [
        "Content-Length: 3\r\nContent-Length: 3\r\n", "Content-Length: 3\r\ncontent-length: 4\r\n",
        "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Content-Length : 3\r\n", "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n", "X: y\r\n Transfer-Encoding: chunked\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n", "X: y\rTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n", "Transfer_Encoding: chunked\0\r\n",
        "Content-Length: 3\r\n Content-Length: 4\r\n",
    ].map {
        .refused(
            "framing \($0.debugDescription)", 400, "POST / HTTP/1.1\r\n\(host)\($0)\r\n0\r\n\r\n")
    }
    + [
        "", "identity", "gzip", "xchunked", "chunkedx", "chunked,", ",chunked", "chunked, chunked",
        "chunked, gzip", "chunked;q=1", "chun ked", "\"chunked\"", "'chunked'", "chunked\u{0B}",
        "\u{0C}chunked", "chunked\0", "chunked\u{A0}", "gzip;q=1, chunked", "[chunked]",
        "chunked\u{85}",
        "chunked chunked", "chunk", "gzip chunked", "chunked, identity", ", chunked",
        "gzip,,chunked", "gzip, chun\u{E2}\u{84}\u{AA}ed",
    ].map {
        .refused(
            "Transfer-Encoding \($0.debugDescription)", 400,
            "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: \($0)\r\n\r\n0\r\n\r\n")
    }
    + ["gzip, chunked", "identity,chunked", "a ,\tb , Chunked"].map {
        .refused(
            "Transfer-Encoding \($0.debugDescription)", 501,
            "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: \($0)\r\n\r\n0\r\n\r\n")
    }
    + [
        .accepted(
            "an underscore makes another field",
            "POST / HTTP/1.1\r\n\(host)Transfer_Encoding: chunked\r\nContent_Length: 9\r\n\r\n"),
        .refused(
            "chunked in 1.0", 400, "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ]

private let chunked = "POST / HTTP/1.1\r\n\(host)Transfer-Encoding: chunked\r\n\r\n"

let chunkCases: [ParserCase] =
    [
        ("empty", "0\r\n\r\n", ""), ("zeros", "000\r\n\r\n", ""),
        ("one", "1\r\na\r\n0\r\n\r\n", "a"),
        ("several", "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n", "abc"),
        (
            "hexadecimal", "A\r\n0123456789\r\nb\r\n0123456789a\r\n0\r\n\r\n",
            "01234567890123456789a"
        ),
        ("leading zeros", "0000000003\r\nabc\r\n0\r\n\r\n", "abc"),
        ("15 digits", "000000000000003\r\nabc\r\n0\r\n\r\n", "abc"),
        ("line ends in the data", "4\r\n\r\n\r\n\r\n0\r\n\r\n", "\r\n\r\n"),
        ("extension", "3;a\r\nabc\r\n0\r\n\r\n", "abc"),
        ("extension with value", "3;a=b;c\r\nabc\r\n0;x=1\r\n\r\n", "abc"),
        ("quoted extension", "3;a=\"b;\\\"\t c\"\r\nabc\r\n0\r\n\r\n", "abc"),
        ("long extension", "3;\(String(repeating: "x", count: 255))\r\nabc\r\n0\r\n\r\n", "abc"),
        ("trailer", "0\r\nX: y\r\nZ:\r\n\r\n", ""),
        ("trailer with framing fields", "0\r\nContent-Length: 9\r\nHost: x\r\n\r\n", ""),
    ].map { .accepted("chunks: \($0.0)", chunked + $0.1, bodies: [$0.2]) }
    + [
        .accepted(
            "the next one begins behind the trailer",
            chunked + "1\r\na\r\n0\r\nX: y\r\n\r\nGET /2 HTTP/1.1\r\n\(host)\r\n", ["/", "/2"],
            bodies: ["a", ""])
    ]
    + [
        "", "3", "3\r", "3\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r", "3\r\nabc\r\n", "0\r\n",
        "0\r\n\r",
        "0\r\nX: y\r\n",
    ].map { .incomplete("chunks: \($0.debugDescription)", chunked + $0) }
    + [
        "\r\n", "g\r\n", "-1\r\n", "+1\r\na\r\n", "0x1\r\na\r\n", "1_0\r\n", " 1\r\na\r\n",
        "1 \r\na\r\n",
        "1\t\r\na\r\n", "1 ;a\r\na\r\n", "1; a\r\na\r\n", "1;\r\na\r\n", "1;;a\r\na\r\n",
        "1;=a\r\na\r\n",
        "1;a=\r\na\r\n", "1;a =b\r\na\r\n", "1;a= b\r\na\r\n", "1;a=\"b\r\na\r\n",
        "1;a=\"b\"c\r\na\r\n",
        "1;a=\"\\\r\na\r\n", "1;a\0\r\na\r\n", "1;a\rb\r\na\r\n", "1;a\u{7F}\r\na\r\n",
        "1,a\r\na\r\n",
        "1\na\r\n0\r\n\r\n", "1;a\na\r\n0\r\n\r\n", "1\r\na\n0\r\n\r\n", "1\r\na\r0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n", "1\r\na0\r\n\r\n", "1\r\na\n\r0\r\n", "2\r\na\r\n0\r\n\r\n",
        "1\r\r\na\r\n",
        "0\n\r\n", "0\r\n\n", "0\r\n\r\r\n", "0\r\nX\r\n\r\n", "0\r\n X: y\r\n\r\n",
        "0\r\nX : y\r\n\r\n",
        "0\r\nX: y\n\r\n", "0\r\nX: a\0\r\n\r\n", "0\r\n: y\r\n\r\n", "0000000000000001\r\na\r\n",
        "fffffffffffffffff\r\n", "10000000000000000\r\n", "\u{FF11}\r\n", "1;\u{E9}\r\na\r\n",
        "3;\(String(repeating: "x", count: 256))\r\nabc\r\n0\r\n\r\n",
        String(repeating: "1", count: 400),
    ].map { .refused("chunks: \($0.debugDescription.prefix(60))", 400, chunked + $0) }
    + [
        .refused("a chunk larger than a body may be", 413, chunked + "100001\r\n"),
        .refused("the largest size", 413, chunked + "fffffffffffffff\r\n"),
    ]

let limitCases: [ParserCase] = {
    func path(_ count: Int) -> String { "/" + String(repeating: "a", count: count - 1) }
    func fields(_ count: Int) -> String { (1..<count).map { "X\($0): y\r\n" }.joined() }
    func value(_ count: Int) -> String { String(repeating: "v", count: count) }
    // "GET " and " HTTP/1.1\r\n" are 15 octets; the head around X's value 27.
    return [
        .accepted(
            "8,000 octets of target", "GET \(path(8000)) HTTP/1.1\r\n\(host)\r\n", [path(8000)]),
        .accepted("8 KiB of line", "GET \(path(8177)) HTTP/1.1\r\n\(host)\r\n", [path(8177)]),
        .refused("more than 8 KiB of line", 414, "GET \(path(8178)) HTTP/1.1\r\n\(host)\r\n"),
        .refused("8 KiB without an end", 414, "GET \(path(9000))"),
        .refused("a method that goes on", 414, value(9000)),
        .accepted("100 fields", "GET / HTTP/1.1\r\n\(host)\(fields(100))\r\n"),
        .refused("101 fields", 431, "GET / HTTP/1.1\r\n\(host)\(fields(101))\r\n"),
        .accepted("32 KiB of head", "GET / HTTP/1.1\r\n\(host)X: \(value(32_768 - 32))\r\n\r\n"),
        .refused("more of head", 431, "GET / HTTP/1.1\r\n\(host)X: \(value(32_768 - 31))\r\n\r\n"),
        .refused("a field without an end", 431, "GET / HTTP/1.1\r\n\(host)X: \(value(40_000))"),
        .refused("a name without an end", 431, "GET / HTTP/1.1\r\n\(host)\(value(40_000))"),
        .accepted("a trailer section", chunked + "0\r\n\(fields(101))\r\n"),
        .refused("101 trailer fields", 431, chunked + "0\r\n\(fields(102))\r\n"),
        .refused("a large trailer section", 431, chunked + "0\r\nX: \(value(40_000))"),
        .accepted(
            "1 MiB of body",
            "POST / HTTP/1.1\r\n\(host)Content-Length: 1048576\r\n\r\n"
                + value(1_048_576), bodies: [value(1_048_576)]),
        .refused(
            "chunks that add up", 413,
            chunked + String(repeating: "10000\r\n\(value(65_536))\r\n", count: 16) + "1\r\n"),
        .refused(
            "extensions that add up", 400,
            chunked + String(repeating: "1;\(value(250))\r\na\r\n", count: 66)),
    ]
}()
