package import LedgerCore
package import Postgres

/// A range of the log with the events of all streams, for readers that want all of it, fast.
///
/// It is read by a binary COPY, the cheapest way to read from Postgres. Positions have no gaps, so
/// the end of a window is known before the log reaches it. Events that do not exist yet are left
/// out.
package struct EventWindow: Sendable {
    package var after: Position
    /// The most events.
    package var limit: Int
    /// Data longer than this, in bytes, is left out; `nil` leaves nothing out.
    package var largestData: Int?
    /// How long the server waits for the first event; `nil` does not wait.
    package var timeout: Duration?
    /// The epoch to read. If the log has another epoch, reading fails with `JL021`. `nil` accepts
    /// any epoch.
    package var epoch: EventID?

    package init(
        after: Position, limit: Int, largestData: Int? = nil, timeout: Duration? = nil, epoch: EventID? = nil
    ) {
        self.after = after
        self.limit = limit
        self.largestData = largestData
        self.timeout = timeout
        self.epoch = epoch
    }

    /// A COPY takes no parameters, so numbers are part of the text. Waiting is a separate
    /// statement, so that the COPY sees the events that were appended during the wait.
    var script: String {
        let wait = timeout.map {
            "SELECT await_events(\(after), make_interval(secs => \($0 / .milliseconds(1)) / 1000.0)); "
        }
        // Checked within the COPY, so that it sees the same snapshot.
        let expectation = epoch.map { " AND expect_epoch('\($0.text)')" } ?? ""
        return (wait ?? "") + """
            COPY (SELECT \(RecordedEvent.columns(largestData: largestData.map { "\($0)" }))
                    FROM events
                   WHERE position > \(after) AND position <= \(after + Int64(limit))\(expectation)
                   ORDER BY position) TO STDOUT (FORMAT binary)
            """
    }

    /// Session settings that make the plan always walk the index, also on a table without
    /// statistics. A sort would delay the first event until the last was read, and spill to disk.
    package static let sessionSettings = [
        ("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("enable_sort", "off"),
    ]
}

extension PostgresConnection {
    /// The events of a window, in chunks, read as they are consumed.
    /// - Parameter chunk: about how many bytes of events are held in memory and returned at once; a
    ///   single event may be larger.
    package nonisolated func events(
        in window: EventWindow, chunk: Int = 256 << 10
    ) -> AsyncThrowingMapSequence<PostgresCopyOut, [RecordedEvent]> {
        encodedEvents(in: window, chunk: chunk).map { chunk in
            var encoded = try EncodedEvents(chunk)
            var events: [RecordedEvent] = []
            events.reserveCapacity(chunk.count / 256)
            while let event = try encoded.next() { events.append(RecordedEvent(event, in: chunk)) }
            return events
        }
    }

    /// The same events in Postgres's encoding. Decode each chunk with ``EncodedEvents``.
    package nonisolated func encodedEvents(in window: EventWindow, chunk: Int = 256 << 10) -> PostgresCopyOut {
        copyOut(window.script, chunk: chunk)
    }
}

extension Category {
    /// - Parameter position: the position of the event, for the error.
    package init(_ name: String, at position: Position) throws(PostgresError) {
        guard let category = Category(name) else {
            throw PostgresError.unexpected("position \(position) has the category \(name), which is no name of one")
        }
        self = category
    }

    /// SQL for the name. It is a part of the text, because it needs no quoting, and statements
    /// about jobs are then the same as if there were no other categories.
    package var sql: String { "'\(text)'" }

    /// SQL that selects the category's events where the log is read by position. It is written so
    /// that no index on the category can serve it: without statistics, Postgres would take that for
    /// the better one, and sort the log.
    package var filter: String { "(category = \(sql)) IS TRUE" }
}

extension EventType {
    /// - Parameter position: the position of the event, for the error.
    package init(_ name: String, at position: Position) throws(PostgresError) {
        guard let type = EventType(rawValue: name) else {
            throw PostgresError.unexpected("position \(position) has the type \(name), which is no name of one")
        }
        self = type
    }
}
