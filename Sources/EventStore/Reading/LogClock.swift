/// Events get the time of the server's clock, and never an earlier one than the event before: their
/// times are in the order of positions, which is what finds a moment in the log. So where the clock
/// was once ahead, events have that time until it gets there.
package enum LogClock {
    /// An expression of SQL: by how many seconds the last event's time is ahead of the server's
    /// clock, 0 where it is not.
    package static let secondsAhead = """
        coalesce(
            (SELECT least(greatest(extract(epoch FROM e.recorded_at) - extract(epoch FROM clock_timestamp()), 0), 1e9)
               FROM events AS e ORDER BY e.position DESC LIMIT 1), 0)::float8
        """
    /// Clocks are set right by less than this all the time.
    package static let notable = Duration.seconds(10)
}
