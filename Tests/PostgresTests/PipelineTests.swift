import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(10))) struct PipelineTests {
    @Test func manyStatementsAnswerInOrder() async throws {
        try await withConnection { connection in
            #expect(try await connection.pipeline([]).isEmpty)
            let answers = try await connection.pipeline((0..<2_000).map { PostgresStatement("SELECT $1", [$0]) })
            #expect(try answers.map { try $0.get().only().decode(0, as: Int.self) } == Array(0..<2_000))
            #expect(try await connection.stillWorks())
        }
    }

    /// libpq would return the first answer row by row, like the stream's.
    @Test func followsAStream() async throws {
        try await withConnection { connection in
            for _ in 0..<3 {
                for try await row in connection.stream("SELECT n FROM generate_series(1, 10) AS n") { _ = row }
                let answers = try await connection.pipeline([
                    PostgresStatement("SELECT n FROM generate_series(1, 3) AS n"), PostgresStatement("SELECT 4"),
                ])
                #expect(try answers.map { try $0.get().count } == [3, 1])
            }
        }
    }

    /// The statements share one implicit transaction, so they all see the same start time.
    @Test func theyRunInOneTransaction() async throws {
        try await withConnection { connection in
            let times = try await connection.pipeline(Array(repeating: PostgresStatement("SELECT now()"), count: 50))
            #expect(Set(try times.map { try $0.get().only().decode(0, as: PostgresTimestamp.self) }).count == 1)
        }
    }

    @Test func anErrorFailsTheStatementsAfterIt() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMP TABLE t (n int PRIMARY KEY)")
            let insert = "INSERT INTO t VALUES ($1) RETURNING n"
            let answers = try await connection.pipeline([1, 2, 2, 3, 4].map { PostgresStatement(insert, [$0]) })
            #expect(answers.count == 5)
            #expect(try answers[0].get().only().decode("n", as: Int.self) == 1)
            #expect(try answers[1].get().count == 1)
            #expect(throws: PostgresError.self) { try answers[2].get() }
            if case .failure(let error) = answers[2] {
                #expect(error.sqlState == .uniqueViolation && error.constraint == "t_pkey")
            }
            for answer in answers[3...] {
                guard case .failure(let error) = answer else {
                    Issue.record("a statement ran after a failed one")
                    return
                }
                #expect(error.kind == .usage)
            }
            // All of it was one transaction.
            #expect(try await connection.number("SELECT count(*) FROM t") == 0)
            #expect(try await connection.pipeline([PostgresStatement(insert, [7])])[0].get().count == 1)
        }
    }

    /// 64 MB each way: neither the sockets nor the server can buffer that, so a client that only
    /// writes, or only reads, hangs.
    @Test func moreThanTheSocketsHoldFlowsBothWays() async throws {
        try await withConnection { connection in
            let text = String(repeating: "x", count: 1 << 20)
            let answers = try await connection.pipeline(
                (0..<64).map { PostgresStatement("SELECT $1::text || $2::text AS t", [text, "\($0)"]) })
            for (number, answer) in answers.enumerated() {
                let back = try answer.get().only().decode("t", as: String.self)
                #expect(back.utf8.count == text.utf8.count + "\(number)".utf8.count && back.hasSuffix("x\(number)"))
            }
            #expect(answers.count == 64)
            #expect(try await connection.stillWorks())
        }
    }

    @Test func aCancelledPipelineEndsAtTheStatementThatRuns() async throws {
        try await withConnection { connection in
            let process = await connection.serverProcess
            let task = Task {
                try await connection.pipeline(
                    ["SELECT 1", "SELECT pg_sleep(600)", "SELECT 2"].map { PostgresStatement($0) })
            }
            try await withConnection { try await $0.waitUntilAsleep(process) }
            task.cancel()
            let answers = try await task.value
            #expect(try answers[0].get().count == 1)
            guard case .failure(let first) = answers[1], case .failure(let second) = answers[2] else {
                Issue.record("\(answers)")
                return
            }
            #expect(first.kind == .cancelled && second.kind == .usage)
            #expect(try await connection.stillWorks())
        }
    }
}
