import IO
import Testing

@Suite struct `A duration in nanoseconds` {
    @Test func `is rounded towards zero`() {
        #expect(Duration.milliseconds(1_500).nanoseconds == 1_500_000_000)
        #expect(
            Duration(secondsComponent: 3, attosecondsComponent: 1_999_999_999).nanoseconds
                == 3_000_000_001)
        #expect(
            Duration(secondsComponent: 0, attosecondsComponent: -1_999_999_999).nanoseconds == -1)
    }

    @Test func `is clamped to what 64 bits hold`() {
        #expect(Duration.seconds(Int64.max).nanoseconds == .max)
        #expect(Duration.seconds(Int64.min).nanoseconds == .min)
        #expect(Duration.nanoseconds(Int64.max).nanoseconds == .max)
    }
}
