import ControlPlane
import Glibc
import IO

/// Whether the settings can be read, and whether their secrets are kept.
struct SettingsChecks {
    let settings: Settings
    let errors: [SettingsError]
    let file: String?

    func run() -> [Finding] {
        var findings = errors.map {
            Finding.problem("settings", $0.description, "`breakwater settings` lists them all")
        }
        if errors.isEmpty {
            findings.append(.ok("settings", "all \(Settings.table.count) can be read"))
        }
        findings += secretFiles.map(permissions)
        findings += operatorKey.map { [$0] } ?? []
        return findings
    }

    /// Files that hold a key or a password.
    private var secretFiles: [String] {
        var files = file.map { [$0] } ?? []
        let secret = Set(Settings.table.filter(\.isSecret).map { $0.environmentName + "_FILE" })
        for (name, value) in SettingsReader.environment.sorted(by: { $0.key < $1.key })
        where secret.contains(name) && !value.isEmpty { files.append(value) }
        let key = settings.data + "/operator.key"
        if unsafe access(key, F_OK) == 0 { files.append(key) }
        return files
    }

    private func permissions(of file: String) -> Finding {
        var status = stat()
        guard unsafe stat(file, &status) == 0 else {
            return .problem("settings.file", "\(file) cannot be read", "Correct its name")
        }
        let bits = String(status.st_mode & 0o777, radix: 8)
        if status.st_mode & 0o022 != 0 {
            return .problem(
                "settings.file", "\(file) can be changed by others (mode \(bits))",
                "chmod 600 \(file)")
        }
        if status.st_mode & 0o077 != 0 {
            return .warning(
                "settings.file", "\(file) can be read by others (mode \(bits))",
                "If it holds a key or a password: chmod 600 \(file)")
        }
        return .ok("settings.file", "\(file) is private (mode \(bits))")
    }

    private var operatorKey: Finding? {
        let kept = settings.data + "/operator.key"
        let text = settings.operatorKey ?? readFile(kept)?.trimmed
        guard let text else { return nil }
        let place = settings.operatorKey == nil ? kept : "operatorKey"
        return APIKeySecret(text) == nil
            ? .problem(
                "settings.operatorKey", "\(place) is no key, or mistyped",
                "`breakwater key generate` makes one")
            : .ok("settings.operatorKey", "\(place) is well formed")
    }
}
