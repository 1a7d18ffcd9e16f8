import ArgumentParser

struct BackupCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "backup",
        abstract: "Copy the whole database into a file, also while it is served.",
        discussion: """
            PostgreSQL's pg_dump in its custom format, of one moment, mode 0600. The file is read \
            again and its rows are held against the database's before it gets its name. Keep \
            DATA/operator.key beside it.
            """)

    @OptionGroup var options: SettingsOptions
    @Argument(help: "The file to make; it must not be there yet.") var file: String

    func run() async throws {
        let settings = try options.settings()
        let file = file
        try await reporting { try Backup(settings: settings, path: file).run() }
    }
}

struct RestoreCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "restore",
        abstract: "Bring a backup into an empty database, or into a new data folder.",
        discussion: """
            Makes the roles, then all that the file holds, in one transaction, and counts the \
            rows. Refused where anything is already, and while an instance works on the folder. \
            `breakwater serve` brings an older backup's schema up to this version.
            """)

    @OptionGroup var options: SettingsOptions
    @Argument(help: "A file that `breakwater backup` made.") var file: String

    func run() async throws {
        let settings = try options.settings()
        let file = file
        try await reporting { try Restore(settings: settings, path: file).run() }
    }
}

/// Runs it on a thread of its own and prints what it says; a failure exits with 1.
func reporting(_ body: @escaping @Sendable () throws -> String) async throws {
    do {
        print(try await onThread(body), to: .standardOutput)
    } catch {
        print("breakwater: \(describe(error))", to: .standardError)
        throw ExitCode(1)
    }
}
