import ArgumentParser

struct SettingsCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "settings",
        abstract: "List every setting, its environment variable, and the value that is in force.")

    @OptionGroup var options: SettingsOptions

    func run() async throws {
        let settings = try options.settings()
        for setting in Settings.table {
            let value = setting.show(settings)
            print("\(setting.name)=\(value)", to: .standardOutput)
            print("    \(setting.environmentName): \(setting.help)", to: .standardOutput)
        }
    }
}
