import BlockingIO
import EventStore
import Feed
import HTTPTypes
import Hummingbird
import LedgerCore
import Postgres
import Projections

/// The routes that say how far the ledger's parts have come, and what was rebuilt and verified:
/// what `jobledger status` and `jobledger receipts` say.
struct StatusRoutes: Sendable {
    let store: EventStore
    let health: Health
    let feed: Feed
    let streams: StreamCount

    var routes: [Route] {
        [
            Route(.get, "/v1/status", scope: .read, answersInOutages: true, status),
            Route(.get, "/v1/receipts", scope: .read, receipts),
        ]
    }

    /// How long the ledger has to answer.
    private static let timeout = Duration.seconds(4)
    /// How long the standbys have, as a part of it.
    private static let patience = Duration.seconds(1)

    private struct Slow: Error {}

    @Sendable private func status(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow()
        do {
            guard !authorized.isDatabaseAway else { throw Slow() }
            var report = try await withTimeLimit(Self.timeout, orThrow: Slow()) { [store] in
                try await store.pool.withConnection { connection in
                    try await StatusReport.load(
                        store.ledger, within: .ofAnswer, patience: Self.patience, on: connection)
                }
            }
            report.streams = ownStreams
            var response = Response.json(try ReportJSON.bytes(report))
            response.headers[.ledgerPosition] = "\(report.head)"
            return response
        } catch is Slow {
            throw try await unavailable("the ledger's database does not answer")
        } catch let error as PostgresError where error.isOutage {
            throw try await unavailable(Problem(error)?.detail ?? "the ledger's database does not answer")
        }
    }

    private var ownStreams: StatusReport.Streams {
        let figures = feed.figures
        return .init(
            open: streams.count, gapsDetected: figures.gapsDetected, refilledEvents: figures.refilledEvents,
            messagesRejected: figures.rejectedMessages)
    }

    /// What is known while the ledger cannot be asked.
    private func unavailable(_ detail: String) async throws -> Problem {
        Problem.unavailable(detail)
            .adding("checks", json: String(decoding: Health.json(await health.checks()), as: UTF8.self))
            .adding("streams", json: String(decoding: try ReportJSON.bytes(ownStreams), as: UTF8.self))
    }

    @Sendable private func receipts(_ authorized: AuthorizedRequest) async throws -> Response {
        let query = authorized.query
        try query.allow("projection", "limit", "after")
        let (projection, limit) = (try query.text("projection"), try query.limit())
        let after = try query.position("after", from: 1)
        let receipts = try await store.pool.withConnection { connection in
            try await RecordedReceipt.last(limit, of: projection, before: after, on: connection)
        }
        let filter = projection.map { "projection=\(Query.encoded($0))&" } ?? ""
        let last = receipts.count == limit ? receipts.last : nil
        let items = try receipts.map { try ReportJSON.bytes(ReceiptReport($0)) }
        let next = last.map { "/v1/receipts?\(filter)limit=\(limit)&after=\($0.number)" }
        return .page("receipts", items, next: next) { $1 += $0 }
    }
}
