import Glibc

/// The time of day, for `Date` alone; deadlines use the monotonic clock.
enum WallClock {
    /// Seconds since 1970 and the nanoseconds into the current one.
    static var now: (seconds: Int64, nanoseconds: Int64) {
        var time = timespec()
        _ = unsafe clock_gettime(CLOCK_REALTIME, &time)
        return (Int64(time.tv_sec), Int64(time.tv_nsec))
    }
}
