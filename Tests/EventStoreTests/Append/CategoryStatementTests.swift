import LedgerCore
import Postgres
import Testing

@testable import EventStore

/// Statements about jobs are what they were before there were other categories.
@Suite struct CategoryStatementTests {
    private static let user = Category("user")!

    private static func request(_ category: Category, _ id: JobID) -> AppendRequest {
        AppendRequest(category: category, job: id, events: [NewEvent(type: "t")])
    }

    private static func batch(_ requests: AppendRequest...) -> AppendBatch {
        var batch = AppendBatch()
        for request in requests { batch.add(request) }
        return batch
    }

    @Test func batchesOfJobsNameNoCategory() throws {
        let one = try #require(Self.batch(Self.request(.job, "a")).statement(VersionHints()))
        #expect(one.sql.contains("append_batch(") && one.parameters.count == 10 && !one.sql.contains("$11"))
        let two = try #require(
            Self.batch(Self.request(.job, "a"), Self.request(.job, "b")).statement(VersionHints()))
        #expect(two.sql.contains("append_to_distinct_jobs(") && two.parameters.count == 10)
    }

    @Test func aBatchWithAnotherCategoryNamesIt() throws {
        for batch in [
            Self.batch(Self.request(Self.user, "a"), Self.request(.job, "a")),
            Self.batch(Self.request(.job, "a"), Self.request(Self.user, "b")),
            Self.batch(Self.request(Self.user, "a")).inTurn(1, of: "x"),
        ] {
            let statement = try #require(batch.statement(VersionHints()))
            #expect(statement.sql.contains("append_batch(") && statement.sql.contains("$10, $11)"))
            #expect(statement.parameters.count == 11)
        }
        // A refused request is not sent, nor is its category.
        let refused = AppendRequest(category: Self.user, job: "u\u{0}", events: [NewEvent(type: "t")])
        let statement = try #require(
            Self.batch(refused, Self.request(.job, "a"), Self.request(.job, "b")).statement(VersionHints()))
        #expect(statement.sql.contains("append_to_distinct_jobs(") && statement.parameters.count == 10)
    }

    /// A stream of another category may have the id of a job, and another version.
    @Test func hintsAreOfJobs() throws {
        let hints = VersionHints()
        let appended = Appended(position: 1, version: 5, eventID: .version7(), isDuplicate: false)
        let requests = [Self.request(Self.user, "a"), Self.request(.job, "b")]
        hints.note([.success([appended]), .success([appended])], to: requests)
        var (found, expected): ([UInt8], [UInt8]) = ([], [])
        let areThere =
            hints.look(up: ["a", "b"]).encode(into: &found) && [Int32?.none, 5].encode(into: &expected)
        #expect(areThere && found == expected)
    }

    @Test func queries() {
        func sql(_ query: EventQuery) -> String { query.statement.sql }
        #expect(!sql(EventQuery()).contains("category ="))
        #expect(sql(EventQuery(job: "a")).contains("category = 'job' AND stream_id = $2"))
        #expect(sql(EventQuery(category: Self.user, job: "a")).contains("category = 'user' AND stream_id = $2"))
        #expect(sql(EventQuery(category: Self.user)).contains("(category = 'user') IS TRUE"))
        // Types without a category are those of jobs.
        #expect(sql(EventQuery(types: [.failed])).contains("(category = 'job') IS TRUE"))
    }
}
