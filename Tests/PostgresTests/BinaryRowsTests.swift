import Foundation
import LedgerTesting
import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(10))) struct BinaryRowsTests {
    private struct Row: Equatable {
        var number: Int64
        var small: Int32?
        var text: String?
        var id: UUID
        var moment: PostgresTimestamp?

        init(_ row: PostgresRow) throws {
            (number, small, text) = (try row.decode(0), try row.decode(1), try row.decode(2))
            (id, moment) = (try row.decode(3), try row.decode(4))
        }

        init(_ rows: inout PostgresBinaryRows) throws {
            (number, small, text) = (try rows.column(), try rows.column(), try rows.column())
            (id, moment) = (try rows.column(), try rows.column())
        }
    }

    /// Chunks of any size give the same rows as a query.
    @Test(arguments: [1, 1_000, 1 << 20]) func agreeWithAQuery(chunk: Int) async throws {
        try await withConnection { connection in
            try await connection.execute(
                script: """
                    CREATE TEMP TABLE r AS SELECT n::bigint, CASE WHEN n % 3 > 0 THEN -n END AS small,
                      CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN ''
                          ELSE repeat('é🙂', (random() * 200)::int) END AS text, gen_random_uuid() AS id,
                      CASE WHEN n % 2 = 0 THEN now() - n * interval '1.000001 day' END AS moment
                    FROM generate_series(1, 2000) n
                    """)
            let expected = try await connection.query("SELECT * FROM r ORDER BY n").map { try Row($0) }
            var read: [Row] = []
            let copy = connection.copyOut("COPY (SELECT * FROM r ORDER BY n) TO STDOUT (FORMAT binary)", chunk: chunk)
            for try await bytes in copy {
                var rows = try PostgresBinaryRows(bytes)
                while try rows.next(columns: 5) { read.append(try Row(&rows)) }
            }
            #expect(read == expected)
        }
    }

    @Test func otherShapesOfRowsAreErrors() async throws {
        try await withConnection { connection in
            var chunks: [[UInt8]] = []
            let copy = connection.copyOut("COPY (SELECT 'abc'::text, NULL::bigint) TO STDOUT (FORMAT binary)")
            for try await bytes in copy { chunks.append(bytes) }
            let bytes = chunks.flatMap { $0 }
            var rows = try PostgresBinaryRows(bytes)
            #expect(throws: PostgresError.self) { try rows.next(columns: 3) }
            rows = try PostgresBinaryRows(bytes)
            #expect(try rows.next(columns: 2))
            #expect(throws: PostgresError.self) { _ = try rows.column(as: Int64.self) }
            rows = try PostgresBinaryRows(bytes)
            #expect(try rows.next(columns: 2))
            #expect(try rows.column(as: String.self) == "abc")
            #expect(throws: PostgresError.self) { _ = try rows.column(as: Int64.self) }
            // Wherever it is cut off, the result is an error or the end, not a crash.
            for length in 0..<bytes.count {
                guard var cut = try? PostgresBinaryRows(Array(bytes[..<length])) else { continue }
                while (try? cut.next(columns: 2)) == true, (try? cut.column(as: String?.self)) != nil,
                    (try? cut.column(as: Int64?.self)) != nil
                {}
            }
        }
    }

    /// Statements before the COPY run first, and the COPY sees their effect.
    @Test func statementsBeforeTheCopy() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMP TABLE t (n int)")
            var text: [UInt8] = []
            let script = "SELECT generate_series(1, 3); INSERT INTO t VALUES (7); COPY t TO STDOUT"
            for try await bytes in connection.copyOut(script) { text += bytes }
            #expect(String(decoding: text, as: UTF8.self) == "7\n")
            let error = try await postgresError {
                for try await _ in connection.copyOut("SELECT 1 / 0; COPY t TO STDOUT") {}
            }
            #expect(error.sqlState?.code == "22012")
            #expect(
                try await postgresError { for try await _ in connection.copyOut("SELECT 1; SELECT 2") {} }.kind
                    == .usage)
            #expect(try await connection.stillWorks())
        }
    }
}
