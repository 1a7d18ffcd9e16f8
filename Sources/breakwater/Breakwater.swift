import ArgumentParser

/// The command.
@main
struct Breakwater: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "breakwater",
        abstract: "A control plane between your service and its sandbox provider.",
        discussion: """
            Start with `breakwater serve`: without DATABASE_URL it runs a private PostgreSQL in
            ./.breakwater. Then `breakwater tenant create NAME` and `breakwater key create TENANT`.
            """,
        version: Build.text,
        subcommands: [
            Serve.self, Migrate.self, TenantCommand.self, KeyCommand.self, SecretsCommand.self,
            Health.self,
            SettingsCommand.self, Simulate.self, Bench.self, BenchLedger.self,
            DoctorCommand.self, BackupCommand.self, RestoreCommand.self, ImportCommand.self,
        ])
}
