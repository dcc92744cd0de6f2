package import LedgerCore
import Postgres

/// Evenly spaced moments of the log. Each is found by a few probes of the primary key, so the time
/// that this takes does not grow with the log.
package struct LogMoments: Sendable {
    package struct Moment: Sendable, Equatable {
        /// The time that was asked for; `nil` for a position.
        package var time: Timestamp?
        /// The position, or the last one recorded by the time.
        package var position: Position
        package var recordedAt: Timestamp
    }

    private let store: EventStore

    package init(_ store: EventStore) { self.store = store }

    /// Up to `points` positions with equal distances, and with both ends.
    /// - Parameters:
    ///   - from: the first position is the one at or after this moment; `nil` for that of the log.
    ///   - to: the last position is the one at or before it.
    package func byPosition(
        _ points: Int, _ from: LogMoment?, _ to: LogMoment?
    ) async throws -> (head: Position, moments: [Moment]) {
        let head = try await store.head()
        let first = try await from.asyncMap { try await store.firstPosition(from: $0) } ?? 1
        let last = min(head, try await to.asyncMap { try await store.position(of: $0) } ?? head)
        let positions = Self.positions(points, first, last)
        let moments = try await store.pool.withConnection { connection in
            try await connection.query(Self.recorded, positions).map {
                Moment(position: try $0.decode(0), recordedAt: Timestamp(try $0.decode(1, as: PostgresTimestamp.self)))
            }
        }
        return (head, moments)
    }

    /// Whole numbers from `first` to `last`, as even as they can be.
    package static func positions(_ points: Int, _ first: Position, _ last: Position) -> [Position] {
        guard first < last else { return first == last ? [first] : [] }
        let steps = min(last - first, Int64(points) - 1)
        let (step, rest) = (last - first).quotientAndRemainder(dividingBy: steps)
        return (0...steps).map { first + step * $0 + (rest * $0 + steps / 2) / steps }
    }

    private static let recorded =
        "SELECT position, recorded_at FROM events WHERE position = ANY ($1::bigint[]) ORDER BY position"

    /// `points` times with equal distances, and with both ends, between the times of the first and
    /// the last event.
    /// - Parameters:
    ///   - from: a time, or the time of the event at a position; `nil` for the log's first event.
    ///   - to: the same for the end.
    package func byTime(
        _ points: Int, _ from: LogMoment?, _ to: LogMoment?
    ) async throws -> (head: Position, moments: [Moment]) {
        let head = try await store.head()
        // No event is beyond these ends.
        guard from?.position ?? 0 <= head, to?.position ?? 1 >= 1 else { return (head, []) }
        let moments = try await store.pool.withConnection { connection in
            try await connection.query(
                Self.atTimes, Int64(points), from?.time, from?.position.map { max(1, min($0, head)) }, to?.time,
                to?.position.map { max(1, min($0, head)) }, head
            ).map {
                Moment(
                    time: Timestamp(try $0.decode(0, as: PostgresTimestamp.self)), position: try $0.decode(1),
                    recordedAt: Timestamp(try $0.decode(2, as: PostgresTimestamp.self)))
            }
        }
        return (head, moments)
    }

    /// $1 times from the time $2, or that of the event $3, to the time $4, or that of the event $5,
    /// within the times of the events up to $6.
    private static let atTimes = """
        WITH log AS (
          SELECT (SELECT recorded_at FROM events WHERE position = 1) AS first,
                 (SELECT recorded_at FROM events WHERE position = $6) AS last
        ), ends AS (
          SELECT greatest(first, coalesce($2, (SELECT recorded_at FROM events WHERE position = $3))) AS first,
                 least(last, coalesce($4, (SELECT recorded_at FROM events WHERE position = $5))) AS last
            FROM log
        )
        SELECT moment.time, found.position, event.recorded_at
          FROM ends,
               generate_series(0, CASE WHEN first = last THEN 0 ELSE $1 - 1 END) AS point,
               LATERAL (SELECT first + (last - first) * (point / greatest($1 - 1, 1)::float8) AS time) AS moment,
               LATERAL (SELECT least(position_at(moment.time), $6) AS position) AS found
          JOIN events AS event ON event.position = found.position
         WHERE first <= last
         ORDER BY point
        """
}

extension LogMoment {
    fileprivate var time: PostgresTimestamp? {
        if case .time(let time) = self { PostgresTimestamp(time) } else { nil }
    }

    fileprivate var position: Position? {
        if case .position(let position) = self { position } else { nil }
    }
}

extension Optional where Wrapped: Sendable {
    fileprivate func asyncMap<T>(_ body: (Wrapped) async throws -> T) async throws -> T? {
        if let self { try await body(self) } else { nil }
    }
}
