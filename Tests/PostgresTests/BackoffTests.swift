import TestSupport
import Testing

@testable import Postgres

@Suite struct `The pause between tries to connect` {
    private let settings = Pipeline.Settings(url: "")

    @Test(arguments: [
        (1, 100), (2, 200), (3, 400), (4, 800), (5, 1_600), (6, 2_000), (60, 2_000),
    ])
    func `doubles up to its limit`(failures: Int, milliseconds: Int) {
        #expect(settings.backoff(after: failures, random: 0) == .milliseconds(milliseconds))
    }

    @Test func `loses up to a half by chance`() {
        #expect(settings.backoff(after: 2, random: 1) == .milliseconds(100))
        #expect(settings.backoff(after: 2, random: 0.5) == .milliseconds(150))
    }
}
