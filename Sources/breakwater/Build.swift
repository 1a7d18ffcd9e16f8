internal import CCurl
internal import CEmbedded
internal import CLibpq
import ControlPlane

/// What was built, from what, with what.
enum Build {
    static let version = "0.1.0"

    /// In the order in which `--version`, the first line of the log and `breakwater_build_info`
    /// say it.
    static var facts: [(name: String, value: String)] {
        [
            ("version", version),
            ("commit", unsafe String(cString: bw_build_commit())),
            ("configuration", configuration),
            ("swift", unsafe String(cString: bw_build_swift())),
            ("libpq", libpq),
            ("libcurl", libcurl),
            ("migrations", "\(Schema.migrations.count)"),
        ]
    }

    /// For people: the version alone on the first line, so that scripts find it there.
    static var text: String {
        let rest = facts.dropFirst().map { "\($0.name) \($0.value)" }
        return version + "\n" + rest.joined(separator: "\n")
    }

    private static var configuration: String {
        #if DEBUG
            "debug"
        #else
            "release"
        #endif
    }

    /// Of the library that is loaded, as PostgreSQL numbers it: 150018 is 15.18.
    private static var libpq: String {
        let number = PQlibVersion()
        return "\(number / 10_000).\(number % 10_000)"
    }

    /// `libcurl/7.88.1 OpenSSL/3.0.17 ...`
    private static var libcurl: String {
        let words = unsafe String(cString: curl_version()).split(separator: " ")
        return String((words.first ?? "unknown").drop { !$0.isNumber })
    }
}
