import Testing

@testable import Postgres

private struct SourceFailed: Error {}

@Suite(.timeLimit(.minutes(10))) struct CopyTests {
    private func withTable(_ body: (PostgresConnection) async throws -> Void) async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMP TABLE t (n bigint PRIMARY KEY, s text)")
            try await body(connection)
        }
    }

    private func lines(_ numbers: some Sequence<Int>) -> [UInt8] {
        numbers.reduce(into: []) { $0 += "\($1)\trow \($1)\n".utf8 }
    }

    private func source(
        _ chunks: [[UInt8]], thenThrow error: (any Error)? = nil
    ) -> AsyncThrowingStream<[UInt8], any Error> {
        AsyncThrowingStream { continuation in
            for chunk in chunks { continuation.yield(chunk) }
            continuation.finish(throwing: error)
        }
    }

    @Test func inAndOut() async throws {
        try await withTable { connection in
            // Chunks need not end where rows do, and an empty chunk does nothing.
            let bytes = lines(0..<1_000)
            let chunks = [Array(bytes[..<5_001]), [], Array(bytes[5_001...])]
            #expect(try await connection.copyIn("COPY t FROM STDIN", source(chunks)) == 1_000)
            for chunk in [1, 100, 256 << 10] {
                var back: [UInt8] = []
                for try await part in connection.copyOut("COPY (SELECT * FROM t ORDER BY n) TO STDOUT", chunk: chunk) {
                    #expect(part.last == UInt8(ascii: "\n"))
                    back += part
                }
                #expect(back == bytes)
            }
            #expect(try await connection.copyIn("COPY t FROM STDIN", source([])) == 0)
            var empty = 0
            for try await _ in connection.copyOut("COPY (SELECT 1 WHERE false) TO STDOUT") { empty += 1 }
            #expect(empty == 0)
            #expect(try await connection.stillWorks())
        }
    }

    /// If the chunk's size divides the rows exactly, the last chunk is empty; no row is lost, and
    /// nothing hangs.
    @Test(arguments: 1...9) func chunksThatFitExactly(rows: Int) async throws {
        try await withConnection { connection in
            var count = 0
            for try await part in connection.copyOut(
                "COPY (SELECT 'abc' FROM generate_series(1, \(rows))) TO STDOUT", chunk: 8)
            {
                count += part.count
            }
            #expect(count == rows * 4)
        }
    }

    @Test func aHundredMegabytesBothWays() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMP TABLE t (s text)")
            let chunk = Array((String(repeating: "y", count: 1 << 20 - 1) + "\n").utf8)
            #expect(
                try await connection.copyIn("COPY t FROM STDIN", source(Array(repeating: chunk, count: 100))) == 100)
            var (bytes, largest) = (0, 0)
            for try await part in connection.copyOut("COPY t TO STDOUT", chunk: 64 << 10) {
                bytes += part.count
                largest = max(largest, part.count)
            }
            #expect(bytes == 100 << 20)
            #expect(largest == 1 << 20)  // one row, which is larger than a chunk
        }
    }

    @Test func aSourceThatFailsUndoesAll() async throws {
        try await withTable { connection async throws in
            await #expect(throws: SourceFailed.self) {
                try await connection.copyIn("COPY t FROM STDIN", source([lines(0..<10)], thenThrow: SourceFailed()))
            }
            #expect(await connection.isInTransaction == false)
            #expect(try await connection.number("SELECT count(*) FROM t") == 0)
        }
    }

    /// As an error of another connection. The COPY must not stay open because the error has our
    /// type.
    @Test func aSourceMayFailWithADatabaseError() async throws {
        try await withTable { connection in
            let error = try await postgresError {
                try await connection.copyIn(
                    "COPY t FROM STDIN", source([lines(0..<10)], thenThrow: PostgresError(.usage, "mine")))
            }
            #expect(error.message == "mine")
            #expect(await connection.isInTransaction == false)
            #expect(try await connection.number("SELECT count(*) FROM t") == 0)
        }
    }

    @Test func fromOneConnectionToAnother() async throws {
        try await withTable { target in
            try await withConnection { source async throws in
                let rows = source.copyOut(
                    "COPY (SELECT n, 'row ' || n FROM generate_series(1, 20000) n) TO STDOUT", chunk: 1_000)
                #expect(try await target.copyIn("COPY t FROM STDIN", rows) == 20_000)
            }
            #expect(try await target.number("SELECT sum(n)::bigint FROM t") == 200_010_000)
        }
    }

    @Test func theServerRefusesARow() async throws {
        try await withTable { connection in
            // The refused row comes first, and many rows follow.
            let chunks = ["nonsense\n".utf8.map { $0 }] + Array(repeating: lines(0..<1_000), count: 200)
            let error = try await postgresError { try await connection.copyIn("COPY t FROM STDIN", source(chunks)) }
            #expect(error.sqlState?.code == "22P02" || error.sqlState?.code == "22P04")
            #expect(error.context?.contains("line 1") == true)
            let unique = try await postgresError {
                try await connection.copyIn("COPY t FROM STDIN", source([lines([1, 2, 1])]))
            }
            #expect(unique.sqlState == .uniqueViolation)
            #expect(try await connection.number("SELECT count(*) FROM t") == 0)
        }
    }

    @Test func theServerFailsInTheMiddleOfCopyingOut() async throws {
        try await withConnection { connection in
            var rows = 0
            let sql = "COPY (SELECT 1 / (5000 - n) FROM generate_series(1, 10000) n) TO STDOUT"
            let error = try await postgresError {
                for try await part in connection.copyOut(sql, chunk: 100) { rows += part.count / 2 }
            }
            #expect(error.sqlState?.code == "22012")
            #expect(rows > 1_000 && rows < 5_000)
            #expect(try await connection.stillWorks())
        }
    }

    @Test func theWrongDirectionIsAnError() async throws {
        try await withTable { connection async throws in
            #expect(
                try await postgresError { try await connection.copyIn("COPY t TO STDOUT", source([])) }.kind == .usage)
            #expect(
                try await postgresError { for try await _ in connection.copyOut("COPY t FROM STDIN") {} }.kind == .usage
            )
            #expect(try await postgresError { try await connection.copyIn("SELECT 1", source([])) }.kind == .usage)
            #expect(
                try await postgresError { try await connection.copyIn("COPY no_such FROM STDIN", source([])) }.kind
                    == .server)
            #expect(try await connection.stillWorks())
        }
    }

    @Test func leavingACopyOutEarly() async throws {
        try await withConnection { connection in
            for _ in 0..<20 {
                for try await _ in connection.copyOut(
                    "COPY (SELECT generate_series(1, 100000000)) TO STDOUT", chunk: 10)
                {
                    break
                }
                #expect(try await connection.stillWorks())
            }
        }
    }

    @Test func cancellingACopyInUndoesItAndFreesTheTable() async throws {
        try await withTable { connection in
            let (chunks, feed) = AsyncStream.makeStream(of: [UInt8].self)
            let task = Task { try await connection.copyIn("COPY t FROM STDIN", chunks) }
            feed.yield(lines(0..<10))
            let process = await connection.serverProcess
            try await withConnection { other in
                // The row lock of a COPY shows that it is under way.
                while try await other.number(
                    "SELECT count(*) FROM pg_locks WHERE pid = $1 AND mode = 'RowExclusiveLock'", process) == 0
                {}
            }
            task.cancel()
            let error = try await postgresError { _ = try await task.value }
            #expect(error.kind == .cancelled)
            #expect(await connection.isInTransaction == false)
            #expect(try await connection.number("SELECT count(*) FROM t") == 0)
        }
    }
}
