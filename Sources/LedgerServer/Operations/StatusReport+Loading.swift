import EventStore
import Feed
package import LedgerCore
package import Postgres
import Projections
import Seal

extension StatusReport {
    /// How much is reported of what the ledger's programs write about themselves.
    package struct Bounds: Sendable {
        /// The most projections, and rebuilds; `nil` for all.
        var most: Int64?
        /// Names and errors are cut after so many characters.
        var longestText: Int32

        package static let none = Bounds(most: nil, longestText: .max)
        /// For an answer over the network.
        static let ofAnswer = Bounds(most: 1000, longestText: 2000)
    }

    /// Reads the report in one snapshot, with a number of statements that depends on nothing. Only
    /// ``durable`` is asked for before, because the question waits for standbys.
    /// - Parameter patience: how long the standbys have.
    package static func load(
        _ ledger: LedgerName, within bounds: Bounds = .none, patience: Duration = .seconds(2),
        on connection: PostgresConnection
    ) async throws -> StatusReport {
        let durable = try await durableHead(patience, on: connection)
        var report = try await connection.transaction(.repeatableRead, readOnly: true) {
            try await snapshot(ledger, bounds, on: $0)
        }
        report.durable = durable
        return report
    }

    /// `nil` where no standby answers, or the server cannot ask them.
    private static func durableHead(_ patience: Duration, on connection: PostgresConnection) async throws -> Position? {
        do {
            return try await connection.durableHead(patience: patience)
        } catch is NotConfirmed {
            return nil
        } catch let error as PostgresError where error.sqlState == .readOnly || error.sqlState == .noStandbys {
            return nil
        }
    }

    private static func snapshot(
        _ ledger: LedgerName, _ bounds: Bounds, on connection: PostgresConnection
    ) async throws -> StatusReport {
        let log = try LogStatus(try await connection.query(LogStatus.statement(relay: Relay.reader)))
        let head = log.head
        let seal = try await SealStatus.load(on: connection)
        let losses = try await connection.query(KnownLoss.statement).map { try KnownLoss($0) }
        let projections = try await connection.query(
            ProjectionStatus.statement(most: bounds.most, longestText: bounds.longestText)
        ).map { try ProjectionStatus($0) }
        let positions = [log.published, seal.position] + projections.map(\.position)
        let next = try await connection.query(nextEvents, positions).map {
            try $0.decode(0, as: PostgresTimestamp?.self).map { "\(Timestamp($0))" }
        }
        return StatusReport(
            head: head,
            appendRate: log.clockAhead < LogClock.notable ? try await appendRate(on: connection) : nil,
            durability: log.demand.rawValue, standbys: log.standbys,
            role: log.isStandby ? "standby" : "primary", timeline: log.timeline, epoch: log.epoch.text,
            epochs: log.epochs.map {
                .init(
                    epoch: $0.epoch.text, firstPosition: $0.firstPosition, beganAt: $0.beganAt.description,
                    reason: $0.reason)
            },
            losses: losses.map {
                .init(
                    reader: $0.reader, place: $0.place.text, shared: $0.shared, notedAt: $0.notedAt.description)
            }, lostEvents: KnownLoss.count(losses),
            clockAheadSeconds: Int(log.clockAhead / .seconds(1)),
            holder: try await holder(on: connection),
            relay: .init(
                position: log.published, lag: head - log.published, active: log.heldLeases.contains(Relay.lease),
                oldestUnfoldedAt: next[0]),
            projections: zip(projections, next.dropFirst(2)).map { projection($0, upTo: head, next: $1) },
            rebuilds: try await rebuilds(of: ledger, bounds, on: connection),
            seal: .init(
                position: seal.position, lag: max(0, head - seal.position),
                state: seal.stopped == nil ? "running" : "stopped", active: seal.isActive, oldestUnfoldedAt: next[1],
                error: seal.stopped.map { String($0.prefix(Int(bounds.longestText))) }))
    }

    /// When the event behind each position was recorded.
    private static let nextEvents = """
        SELECT event.recorded_at
          FROM unnest($1::bigint[]) WITH ORDINALITY AS reader (position, ordinal)
          LEFT JOIN events AS event ON event.position = reader.position + 1
         ORDER BY ordinal
        """

    /// Events a second over the last minute, to the thousandth. A search by time finds where the
    /// minute began, so nothing is counted.
    private static func appendRate(on connection: PostgresConnection) async throws -> Double {
        let events: Int64 = try await connection.query(lastMinute).only().decode(0)
        return rounded(Double(events) / 60)
    }

    private static let lastMinute = "SELECT head() - position_at(clock_timestamp() - interval '60 s')"

    private static func rounded(_ number: Double) -> Double { (number * 1000).rounded() / 1000 }

    private static func holder(on connection: PostgresConnection) async throws -> Holder? {
        try LogLockHolder(try await connection.query(LogLockHolder.statement)).map { holder in
            let isKnown = holder.age != nil || holder.longestWait != nil
            return .init(
                by: holder.name, process: holder.process, preparedAs: holder.preparedAs, user: holder.user,
                application: holder.application, heldSeconds: isKnown ? Int(holder.heldFor / .seconds(1)) : nil,
                waiting: holder.waiting)
        }
    }

    private static func projection(_ projection: ProjectionStatus, upTo head: Position, next: String?) -> Projection {
        let stopped = projection.stopped
        return Projection(
            name: projection.name, position: projection.position, lag: head - projection.position,
            state: stopped == nil ? "running" : "stopped", active: projection.isActive, oldestUnfoldedAt: next,
            error: stopped?.error, failedPosition: stopped?.position, failedEvent: stopped?.event?.text,
            driftChecks: projection.drift.map {
                Drift(jobs: $0.jobs, drifted: $0.drifted, checkedAt: $0.checkedAt)
            })
    }

    private static func rebuilds(
        of ledger: LedgerName, _ bounds: Bounds, on connection: PostgresConnection
    ) async throws -> [Rebuild] {
        try await RebuildState.all(
            ledger: ledger, most: bounds.most, longestText: bounds.longestText, on: connection
        ).map { rebuild in
            let rate = rebuild.isActive && rebuild.age > 0 ? Double(rebuild.position) / rebuild.age : 0
            return .init(
                projection: rebuild.projection, position: rebuild.position, goal: rebuild.goal,
                active: rebuild.isActive, startedAt: rebuild.startedAt, startedBy: rebuild.startedBy,
                rate: rate > 0 ? rounded(rate) : nil,
                secondsLeft: rate > 0 && rebuild.position < rebuild.goal
                    ? rounded(Double(rebuild.goal - rebuild.position) / rate) : nil,
                error: rebuild.failed?.error, failedPosition: rebuild.failed?.position,
                failedEvent: rebuild.failed?.event?.text)
        }
    }
}
