import IO
import JSON

// The provider's objects. Members that the SDK cannot do without are always there.
extension Provider {
    /// The constants that the provider too gives every sandbox.
    private static let clientID = "6532622b"
    private static let envdVersion = "0.5.7"

    /// What create, connect and resume answer.
    func sandboxJSON(_ sandbox: Sandbox, _ region: RegionScript) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { json in
            json.member("templateID", sandbox.template)
            json.member("alias", sandbox.template)
            json.member("sandboxID", sandbox.id)
            json.member("clientID", Self.clientID)
            json.member("envdVersion", Self.envdVersion)
            json.member("envdAccessToken", ifPresent: sandbox.accessToken)
            json.member("trafficAccessToken", orNull: String?.none)
            json.member("domain", orNull: region.domain)
        }
        return writer.bytes
    }

    func detailJSON(_ sandbox: Sandbox, _ region: RegionScript) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { json in
            write(sandbox, to: &json)
            json.member("envdAccessToken", ifPresent: sandbox.accessToken)
            json.member("domain", orNull: region.domain)
        }
        return writer.bytes
    }

    func listedJSON(_ sandbox: Sandbox) -> [UInt8] {
        var writer = JSONWriter()
        writer.object { write(sandbox, to: &$0) }
        return writer.bytes
    }

    private func write(_ sandbox: Sandbox, to json: inout JSONWriter) {
        json.member("templateID", sandbox.template)
        json.member("alias", sandbox.template)
        json.member("sandboxID", sandbox.id)
        json.member("clientID", Self.clientID)
        json.member("startedAt", clock.text(sandbox.startedAt))
        json.member("endAt", clock.text(sandbox.endAt))
        json.member("envdVersion", Self.envdVersion)
        json.member("cpuCount", 2)
        json.member("memoryMB", 512)
        json.member("diskSizeMB", 1024)
        json.member("state", sandbox.state.rawValue)
        json.member("metadata", sandbox.metadata)
    }

    /// One sample, made up but for its time: an idle sandbox.
    func metricsJSON(_ sandbox: Sandbox, at now: Duration) -> [UInt8] {
        var writer = JSONWriter()
        writer.array { json in
            json.object { json in
                json.member("timestamp", clock.text(now))
                json.member("timestampUnix", clock.unixSeconds(now))
                json.member("cpuCount", 2)
                json.member("cpuUsedPct", 1.5)
                json.member("memUsed", 64 << 20)
                json.member("memTotal", 512 << 20)
                json.member("memCache", 16 << 20)
                json.member("diskUsed", 256 << 20)
                json.member("diskTotal", 1 << 30)
            }
        }
        return writer.bytes
    }

    func logsJSON(_ sandbox: Sandbox) -> [UInt8] { Array(#"{"logs":[],"logEntries":[]}"#.utf8) }
}
