import ArgumentParser

struct SecretsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "secrets",
        abstract: "Show which keys seal the stored secrets, and change to a new one.",
        subcommands: [Show.self, Rotate.self])

    struct Show: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Count the stored secrets by the key that sealed them.")
        @OptionGroup var options: ClientOptions

        func run() async throws { try await options.show("GET", "/v1/admin/secrets") }
    }

    struct Rotate: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Seal with the present key what an earlier one has sealed.",
            discussion: """
                First give all instances the new key as BREAKWATER_SECRET_KEY and the old one as
                BREAKWATER_SECRET_KEY_PREVIOUS. The old one can go when `secrets show` counts none of it.
                """)
        @OptionGroup var options: ClientOptions

        func run() async throws { try await options.show("POST", "/v1/admin/secrets/rotate") }
    }
}
