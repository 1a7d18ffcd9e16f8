import API
import HTTP
import IO

/// Settings about who stands between us and the clients, and on whose behalf browsers call.
extension Setting {
    static let trustedProxies = Setting(
        name: "http.trustedProxies",
        help: "proxies whose X-Forwarded-For is believed: addresses, networks, unix; with commas"
    ) { text, settings throws(SettingsError) in
        var trusted = TrustedProxies()
        for part in text.split(separator: ",") {
            let part = String(part).trimmed
            if part == "unix" {
                trusted.unixSocket = true
            } else if let network = IPNetwork(part) {
                trusted.networks.append(network)
            } else {
                throw SettingsError(
                    "must be addresses or networks like 10.0.0.0/8 or ::1, without bits behind the "
                        + "prefix, or unix; not \(part)")
            }
        }
        settings.api.trustedProxies = trusted
    } show: {
        let trusted = $0.api.trustedProxies
        return (trusted.networks.map(\.description) + (trusted.unixSocket ? ["unix"] : []))
            .joined(separator: ",")
    }

    static let corsOrigins = Setting(
        name: "http.corsOrigins",
        help: "origins whose pages may call (CORS), like https://app.example.com; with commas"
    ) { text, settings throws(SettingsError) in
        let origins = text.split(separator: ",").map { String($0).trimmed }
        do throws(CORS.Fault) {
            settings.cors = try origins.isEmpty ? nil : CORS(origins: origins)
        } catch {
            throw SettingsError(error.description)
        }
    } show: {
        $0.cors?.origins.joined(separator: ",") ?? ""
    }
}
