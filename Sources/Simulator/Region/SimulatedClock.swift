import Glibc
import IO

/// The simulator's time: the machine's, plus what it was told to skip.
struct SimulatedClock: Sendable {
    private let start = MonotonicInstant.now
    /// Milliseconds since 1970 at the start.
    private let wall: Int64
    private var skipped: Duration = .zero

    init() {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
        wall = Int64(time.tv_sec) * 1000 + Int64(time.tv_nsec) / 1_000_000
    }

    /// Since the start.
    var now: Duration { start.duration(to: .now) + skipped }

    mutating func advance(by duration: Duration) { skipped += duration }

    /// A time since the start as RFC 3339 in UTC with milliseconds.
    func text(_ time: Duration) -> String {
        let (seconds, millisecond) = (wall + time.milliseconds).quotientAndRemainder(
            dividingBy: 1000)
        var clock = time_t(seconds)
        var parts = unsafe tm()
        _ = unsafe gmtime_r(&clock, &parts)
        func two(_ number: Int32) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let (year, month, day) = unsafe (parts.tm_year, parts.tm_mon, parts.tm_mday)
        let (hour, minute, second) = unsafe (parts.tm_hour, parts.tm_min, parts.tm_sec)
        let date = "\(year + 1900)-\(two(month + 1))-\(two(day))"
        let time = "\(two(hour)):\(two(minute)):\(two(second))"
        let fraction = String(1000 + millisecond).dropFirst()
        return "\(date)T\(time).\(fraction)Z"
    }

    /// Whole seconds since 1970.
    func unixSeconds(_ time: Duration) -> Int { Int((wall + time.milliseconds) / 1000) }
}
