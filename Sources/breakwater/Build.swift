/// What was built.
enum Build {
    static let version = "0.1.0"
}
