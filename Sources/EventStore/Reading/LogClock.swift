/// Events are recorded with the server's clock, but never earlier than the event before. So
/// recorded times ascend with positions, and a binary search finds the position of a time. If the
/// clock was ahead once, events get that time until the clock catches up.
package enum LogClock {
    /// An SQL expression: by how many seconds the last event's time is ahead of the server's clock;
    /// 0 if it is not.
    package static let secondsAhead = """
        coalesce(
            (SELECT least(greatest(extract(epoch FROM e.recorded_at) - extract(epoch FROM clock_timestamp()), 0), 1e9)
               FROM events AS e ORDER BY e.position DESC LIMIT 1), 0)::float8
        """
    /// Smaller differences are normal clock corrections.
    package static let notable = Duration.seconds(10)
}
