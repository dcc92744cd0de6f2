import EventStore
package import Foundation
package import LedgerCore
import Postgres

/// What the log says about a row that differs between the tables in use and their refold.
package struct Explanation: Sendable, Equatable {
    package struct Event: Sendable, Equatable {
        package let position: Position
        package let id: UUID
        package let type: String

        package init(position: Position, id: UUID, type: String) {
            self.position = position
            self.id = id
            self.type = type
        }
    }

    package struct Column: Sendable, Equatable {
        package let name: ExactText
        /// The value on each side, as JSON; `nil` if the row is missing there.
        package let live: String?
        package let rebuilt: String?
        /// The event that gave the refold its value; `nil` if no event gives such a row.
        package let rebuiltBy: Event?
        /// The first event after which the row had the value of the tables in use; `nil` if it
        /// never had that value.
        package let liveBy: Event?

        package init(name: ExactText, live: String?, rebuilt: String?, rebuiltBy: Event?, liveBy: Event?) {
            self.name = name
            self.live = live
            self.rebuilt = rebuilt
            self.rebuiltBy = rebuiltBy
            self.liveBy = liveBy
        }
    }

    /// The columns that differ; the key's columns if the row is missing on one side.
    package let columns: [Column]
    /// Why the history was not searched; `nil` if it was.
    package let unexplained: String?
}

/// Folds the history of a row's stream event by event, to find the events that gave the differing
/// values.
struct Explainer: Sendable {
    private let definition: ProjectionDefinition
    private let ledger: LedgerName
    private let upTo: Position
    private static let mostRows = 20
    private static let longestHistory = 5_000

    init(_ definition: ProjectionDefinition, ledger: LedgerName, upTo: Position) {
        self.definition = definition
        self.ledger = ledger
        self.upTo = upTo
    }

    /// Explains each difference. In the caller's transaction, which must be rolled back.
    func explain(_ differences: [RowDifference], on connection: PostgresConnection) async throws -> [Explanation] {
        var explanations: [Explanation] = []
        for (number, difference) in differences.enumerated() {
            explanations.append(try await explain(difference, isAsked: number < Self.mostRows, on: connection))
        }
        return explanations
    }

    private func explain(
        _ difference: RowDifference, isAsked: Bool, on connection: PostgresConnection
    ) async throws -> Explanation {
        let values = try await columns(of: difference, on: connection)
        func unexplained(_ why: String) -> Explanation {
            Explanation(
                columns: values.map {
                    .init(name: $0.name, live: $0.live, rebuilt: $0.rebuilt, rebuiltBy: nil, liveBy: nil)
                },
                unexplained: why)
        }
        guard definition.key == .stream else {
            return unexplained("the projection's key is the log: a row may depend on every event, not on one stream's")
        }
        guard isAsked else { return unexplained("only the first \(Self.mostRows) rows are explained") }
        guard let stream = try await stream(of: difference, on: connection) else {
            return unexplained("no part of its key is a stream of the log: no event gives this row")
        }
        let history = try await connection.query(Self.history, stream, upTo, Self.longestHistory + 1).map {
            Explanation.Event(position: try $0.decode(0), id: try $0.decode(1), type: try $0.decode(2))
        }
        guard history.count <= Self.longestHistory else {
            return unexplained("stream \(stream) has more than \(Self.longestHistory) events")
        }
        return Explanation(
            columns: try await trace(values, difference, stream, history, on: connection), unexplained: nil)
    }

    /// The first $3 events of each stream with the id $1, up to the position $2. There is one such
    /// stream for each category at most.
    private static let history = """
        SELECT event.position, event.event_id, event.type
          FROM (SELECT category FROM events WHERE stream_id = $1 AND version = 1) AS stream,
               LATERAL (SELECT position, event_id, type::text FROM events
                         WHERE category = stream.category AND stream_id = $1 AND position <= $2
                         ORDER BY version LIMIT $3) AS event
         ORDER BY event.position
        """

    private typealias Values = (name: ExactText, live: String?, rebuilt: String?)

    /// The columns to explain, with the values on both sides.
    private func columns(of difference: RowDifference, on connection: PostgresConnection) async throws -> [Values] {
        try await connection.query(
            Self.columnsWithValues, difference.key, difference.live, difference.expected, difference.columns
        ).map { (try $0.decode(0), try $0.decode(1), try $0.decode(2)) }
    }

    private static let columnsWithValues = """
        SELECT name, ($2::jsonb -> name)::text, ($3::jsonb -> name)::text
          FROM unnest(CASE WHEN cardinality($4) > 0 THEN $4 ELSE ARRAY(SELECT jsonb_object_keys($1::jsonb)) END)
                 WITH ORDINALITY AS listed (name, place)
         ORDER BY place
        """

    /// The stream whose events the row depends on, found by the part of its key that is its id.
    private func stream(of difference: RowDifference, on connection: PostgresConnection) async throws -> JobID? {
        try await connection.query(Self.streamInKey, difference.key).first.map { try $0.decode(0) }
    }

    private static let streamInKey = """
        SELECT value FROM jsonb_each_text($1::jsonb) AS part (name, value)
         WHERE EXISTS (SELECT FROM events WHERE stream_id = value)
         LIMIT 1
        """

    private func trace(
        _ values: [Values], _ difference: RowDifference, _ stream: JobID, _ history: [Explanation.Event],
        on connection: PostgresConnection
    ) async throws -> [Explanation.Column] {
        let fold = StreamFold(definition, ledger: ledger)
        var (rebuiltBy, liveBy) = ([ExactText: Explanation.Event](), [ExactText: Explanation.Event]())
        try await connection.execute(script: "SAVEPOINT before_trace")
        try await fold.begin([stream], on: connection)
        var position: Position = 0
        for event in history {
            try await fold.apply(after: position, upTo: event.position, on: connection)
            position = event.position
            let matches = try await connection.query(
                Self.matches(in: difference.table), values.map(\.name), difference.key, difference.expected,
                difference.live)
            for match in matches {
                let name: ExactText = try match.decode(0)
                if try match.decode(1) {
                    // Kept while the value stays: the event that gave it last.
                    if rebuiltBy[name] == nil { rebuiltBy[name] = event }
                } else {
                    rebuiltBy[name] = nil
                }
                if try match.decode(2), liveBy[name] == nil { liveBy[name] = event }
            }
        }
        try await connection.execute(script: "ROLLBACK TO before_trace")
        return values.map {
            .init(
                name: $0.name, live: $0.live, rebuilt: $0.rebuilt, rebuiltBy: rebuiltBy[$0.name],
                liveBy: liveBy[$0.name])
        }
    }

    /// Whether the columns $1 of the folded row with the key $2 have the values of the refold's row
    /// $3 and of the row in use $4. A missing row has no values: $3 or $4 is null then.
    private static func matches(in table: String) -> String {
        """
        SELECT wanted.name,
               folded.row -> wanted.name IS NOT DISTINCT FROM $3::jsonb -> wanted.name
                 AND $3 IS NOT NULL AS is_rebuilt,
               folded.row -> wanted.name IS NOT DISTINCT FROM $4::jsonb -> wanted.name
                 AND $4 IS NOT NULL AS is_live
          FROM (SELECT to_jsonb(t) AS row FROM pg_temp."\(table)" AS t) AS folded, unnest($1) AS wanted (name)
         WHERE folded.row @> $2::jsonb
        """
    }
}
