import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore
import NIOCore
import Postgres
import Projections

/// All runs of a job as CSV.
///
/// They are read page by page, as the client takes them, each page within the limits of a read. So
/// neither the memory nor a connection depends on how many there are, and how slow the client is.
struct RunsCSV: Sendable {
    let store: EventStore
    let reads: ReadLimits
    let job: JobID
    let sender: Credential?
    let columns: RunColumns

    /// The most variables and metrics, so that no short reports make a table without end.
    static let mostColumns = 1000
    private static let mediaType = "text/csv; charset=utf-8; header=present"
    private static let rowsAtOnce = 1000
    /// A page ends early once it has about this many bytes.
    private static let bytesAtOnce = 1 << 20

    /// - Throws: a ``Problem`` if the table would be too wide.
    init(of job: JobID, store: EventStore, reads: ReadLimits, sender: Credential?) async throws {
        columns = try await store.pool.withConnection {
            try await RunColumns(of: job, most: Self.mostColumns, on: $0)
        }
        guard columns.count <= Self.mostColumns + 1 else {
            throw Problem(
                .contentTooLarge, "too_large",
                "the runs have more than \(Self.mostColumns) different variables and metrics, which is too wide for "
                    + "CSV: read them as JSON")
        }
        self.store = store
        self.reads = reads
        self.job = job
        self.sender = sender
    }

    var response: Response {
        Response(
            status: .ok,
            headers: [
                .contentType: Self.mediaType, .contentDisposition: "attachment; filename=\"runs.csv\"",
                .vary: "Accept",
            ],
            body: ResponseBody { writer in
                try await writer.write(ByteBuffer(string: columns.csvNames))
                var last: Int64? = -1
                while let after = last {
                    // A failure cuts the answer off, so that nobody takes a part for the whole.
                    let page = try await reads.run(for: sender) { try await lines(after: after) }
                    if page.text.readableBytes > 0 { try await writer.write(page.text) }
                    last = page.last
                }
                try await writer.finish(nil)
            })
    }

    /// Some lines.
    /// - Returns: `last` is the last run's index; `nil` if no more follow.
    private func lines(after: Int64) async throws -> (text: ByteBuffer, last: Int64?) {
        try await store.pool.withConnection { connection in
            var text = ByteBuffer()
            var (count, last): (Int, Int32?) = (0, nil)
            var isCut = false
            for try await row in connection.stream(Self.statement, job, after, Self.rowsAtOnce) {
                // The server sends the remaining rows anyway.
                guard !isCut else { continue }
                let index: Int32 = try row.decode(0)
                text.writeString(try columns.csv(index, variables: try row.decode(1), metrics: try row.decode(2)))
                (count, last) = (count + 1, index)
                isCut = text.readableBytes > Self.bytesAtOnce
            }
            return (text, count == Self.rowsAtOnce || isCut ? last.map(Int64.init) : nil)
        }
    }

    private static let statement = """
        SELECT run_index, variables::text, metrics::text FROM batch_job_runs
         WHERE batch_job_id = $1 AND run_index > $2 ORDER BY run_index LIMIT $3
        """
}
