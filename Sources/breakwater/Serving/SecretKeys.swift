import ControlPlane
import Glibc
import IO

/// The keys that seal stored secrets: given, kept in the data folder, or made at first start.
enum SecretKeys {
    /// Beside a private cluster a key is made when none was given; beside a given database, which
    /// other instances may share, it is the operator's to give. Without one, storing a secret is
    /// refused and all else works.
    static func open(_ settings: Settings, _ tell: Tell) throws -> SecretBox {
        let previous = settings.secretKeyPrevious
        if let key = settings.secretKey.first { return SecretBox(key, previous: previous) }
        guard settings.usesPrivateCluster else { return SecretBox(nil, previous: previous) }
        let path = settings.data + "/secret.key"
        if let text = readFile(path)?.trimmed {
            guard let key = SecretKey(text) else {
                throw SettingsError("\(path): holds no key; mend it, or give BREAKWATER_SECRET_KEY")
            }
            return SecretBox(key, previous: previous)
        }
        // A file that is there and cannot be read is not replaced (O_EXCL): values may be sealed
        // with its key.
        var random = SystemRandomNumberGenerator()
        guard let made = SecretKey.make(using: &random) else {
            throw SettingsError("no random octets for \(path)")
        }
        try writePrivate(made.text + "\n", to: path, replacing: false)
        tell(.secretKeyMade(keyID: made.key.id, path: path))
        return SecretBox(made.key, previous: previous)
    }
}
