import Glibc

/// A number from the environment, for counts that a soak raises.
func environmentNumber(_ name: String) -> Int? {
    guard let text = unsafe getenv(name) else { return nil }
    return unsafe Int(String(cString: text))
}
