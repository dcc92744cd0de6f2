import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(10))) struct RowStreamTests {
    @Test func twoHundredThousandRowsInOrder() async throws {
        try await withConnection { connection in
            var next = 1
            for try await row in connection.stream(
                "SELECT n, 'row ' || n AS s FROM generate_series(1, $1::bigint) n", 200_000)
            {
                let number: Int = try row.decode(0)
                guard number == next else {
                    Issue.record("\(number) after \(next - 1)")
                    return
                }
                next += 1
            }
            #expect(next == 200_001)
            #expect(try await connection.stillWorks())
        }
    }

    /// Every size of chunk around that of whole rows: no row is lost or repeated, and the stream
    /// ends.
    @Test func theChunksBoundariesLoseNothing() async throws {
        try await withConnection { connection in
            let row = try await connection.query("SELECT 1").result.size
            for chunk in [1, row - 1, row, row + 1, 3 * row - 1, 3 * row, 3 * row + 1, 1 << 30] {
                for count in 0...7 {
                    var numbers: [Int] = []
                    for try await row in connection.stream("SELECT generate_series(1, $1)", Int32(count), chunk: chunk)
                    {
                        numbers.append(try row.decode(0))
                    }
                    #expect(numbers == Array(1..<count + 1), "\(count) rows, chunk \(chunk)")
                }
            }
            #expect(try await connection.stillWorks())
        }
    }

    /// Rows without bytes: they must not be lost, collected without bound, or requested for ever.
    @Test(arguments: ["NULL::text", "''", "''::bytea, NULL::int", ""])
    func rowsWithoutBytes(columns: String) async throws {
        try await withConnection { connection in
            for chunk in [1, 256 << 10] {
                var count = 0
                for try await _ in connection.stream("SELECT \(columns) FROM generate_series(1, 3000)", chunk: chunk) {
                    count += 1
                }
                #expect(count == 3_000)
            }
            var first: PostgresRow?
            // Collected without bound, this would not reach its first row.
            for try await row in connection.stream("SELECT \(columns) FROM (SELECT generate_series(1, 100000000000)) n")
            {
                first = row
                break
            }
            #expect(first != nil)
            #expect(try await connection.stillWorks())
        }
    }

    @Test func aRowLargerThanTheChunk() async throws {
        try await withConnection { connection in
            var sizes: [Int] = []
            for try await row in connection.stream(
                "SELECT repeat('x', n::int) FROM unnest($1) n", [5, 5 << 20, 0, 3 << 20], chunk: 1_000)
            {
                sizes.append(try row.decode(0, as: String.self).utf8.count)
            }
            #expect(sizes == [5, 5 << 20, 0, 3 << 20])
        }
    }

    @Test func anErrorComesAfterTheRowsBeforeIt() async throws {
        try await withConnection { connection in
            var count = 0
            let error = try await postgresError {
                for try await _ in connection.stream("SELECT 1 / (50 - n) FROM generate_series(1, 100) n", chunk: 1) {
                    count += 1
                }
            }
            #expect(error.sqlState?.code == "22012" && count == 49)
            #expect(
                try await postgresError { for try await _ in connection.stream("SELECT nonsense") {} }.sqlState?.code
                    == "42703")
            #expect(try await connection.stillWorks())
        }
    }

    @Test func leavingEarlyCancelsTheStatement() async throws {
        try await withConnection { connection in
            for _ in 0..<20 {
                for try await _ in connection.stream("SELECT generate_series(1, 100000000000)", chunk: 100) { break }
                #expect(try await connection.stillWorks())
            }
        }
    }

    @Test func aStreamWhoseConnectionWasUsedMeanwhileIsAnError() async throws {
        try await withConnection { connection in
            var rows = connection.stream("SELECT generate_series(1, 100000)", chunk: 1).makeAsyncIterator()
            #expect(try await rows.next() != nil)
            #expect(try await connection.stillWorks())
            let error = try await postgresError {
                while try await rows.next() != nil {}
            }
            #expect(error.kind == .usage && error.message.contains("used for something else"))
            var others = connection.stream("SELECT 1").makeAsyncIterator()
            #expect(try await others.next() != nil)
            #expect(try await others.next() == nil)
            #expect(try await others.next() == nil)
        }
    }

    @Test func aStatementWithoutRowsIsAnEmptyStream() async throws {
        try await withConnection { connection in
            for try await _ in connection.stream("CREATE TEMP TABLE t (n int)") { Issue.record("a row") }
            #expect(try await connection.number("SELECT count(*) FROM t") == 0)
        }
    }
}
