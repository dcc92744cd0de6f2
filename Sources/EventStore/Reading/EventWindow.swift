package import LedgerCore
package import Postgres

/// A stretch of the log, for readers that want all of it and fast: the events of all jobs between
/// two positions.
///
/// It is read by a binary COPY, the cheapest way out of Postgres. Positions have no gap, so its end
/// is known before anybody has looked whether the log goes so far; what is not there yet is just
/// not given.
package struct EventWindow: Sendable {
    package var after: Position
    /// The most events.
    package var limit: Int
    /// Data of more bytes are left out, `nil` leaves none out.
    package var largestData: Int?
    /// How long to wait, in the server, for the first event; `nil` does not wait.
    package var timeout: Duration?
    /// The epoch that is read: in another the events are others, and reading them is an error,
    /// `JL021`. `nil` does not mind.
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

    /// Numbers stand in the text, for a COPY takes no parameters. To wait is a statement of its
    /// own: the next one sees what was appended meanwhile.
    var script: String {
        let wait = timeout.map {
            "SELECT await_events(\(after), make_interval(secs => \($0 / .milliseconds(1)) / 1000.0)); "
        }
        // Within the statement, so that it sees the very log that is read.
        let expectation = epoch.map { " AND expect_epoch('\($0.text)')" } ?? ""
        let data = largestData.map { "CASE WHEN octet_length(data::text) <= \($0) THEN data END" } ?? "data"
        return (wait ?? "") + """
            COPY (SELECT position, event_id, stream_id, version, type, \(data), metadata, occurred_at,
                recorded_at, total
                    FROM events
                   WHERE position > \(after) AND position <= \(after + Int64(limit))\(expectation)
                   ORDER BY position) TO STDOUT (FORMAT binary)
            """
    }

    /// Settings of a session under which the plan is always the walk along the index, on a table
    /// without statistics too: a sort would hold back the first event for the last, and spill to
    /// disk.
    package static let sessionSettings = [
        ("enable_seqscan", "off"), ("enable_bitmapscan", "off"), ("enable_sort", "off"),
    ]
}

extension PostgresConnection {
    /// The events of a window, some at a time, as they are needed.
    /// - Parameter chunk: about how many bytes of events are held in memory, and given in one go; a
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

    /// The same as Postgres sends them: each chunk is for ``EncodedEvents``.
    package nonisolated func encodedEvents(in window: EventWindow, chunk: Int = 256 << 10) -> PostgresCopyOut {
        copyOut(window.script, chunk: chunk)
    }
}

extension EventType {
    /// - Parameter position: of the event that has this type, for the error.
    package init(_ name: String, at position: Position) throws(PostgresError) {
        guard let type = EventType(rawValue: name) else {
            throw PostgresError.unexpected("position \(position) has the unknown type \(name)")
        }
        self = type
    }
}
