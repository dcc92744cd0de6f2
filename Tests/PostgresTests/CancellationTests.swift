import LedgerTesting
import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(10))) struct CancellationTests {
    /// Cancels `body` on a connection once its statement sleeps, and expects the connection to be
    /// usable afterwards.
    private func expectPromptEnd(
        of body: @escaping @Sendable (PostgresConnection) async throws -> Void,
        location: SourceLocation = #_sourceLocation
    ) async throws {
        try await withConnection { connection in
            let process = await connection.serverProcess
            let task = Task { try await body(connection) }
            try await withConnection { other in
                try await other.waitUntilAsleep(process)
                let clock = ContinuousClock()
                let cancelled = clock.now
                task.cancel()
                let error = try await postgresError(location) { try await task.value }
                #expect(error.kind == .cancelled, sourceLocation: location)
                // Long before the statement would have ended.
                #expect(cancelled.duration(to: clock.now) < .seconds(45), sourceLocation: location)
                #expect(try await other.isAtRest(process), sourceLocation: location)
            }
            #expect(try await connection.stillWorks(), sourceLocation: location)
            #expect(await connection.serverProcess == process, sourceLocation: location)
        }
    }

    @Test func aStatement() async throws {
        try await expectPromptEnd { try await $0.query("SELECT pg_sleep($1)", 60.0) }
    }

    @Test func aScript() async throws {
        try await expectPromptEnd { try await $0.execute(script: "SELECT 1; SELECT pg_sleep(60); SELECT 2") }
    }

    @Test func aStream() async throws {
        try await expectPromptEnd {
            for try await _ in $0.stream("SELECT n, CASE n WHEN 5 THEN pg_sleep(60) END FROM generate_series(1, 9) n") {
            }
        }
    }

    @Test func aCopyOut() async throws {
        try await expectPromptEnd { for try await _ in $0.copyOut("COPY (SELECT pg_sleep(60)) TO STDOUT") {} }
    }

    @Test func aTaskThatIsCancelledAlreadySendsNothing() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMP TABLE t (n int)")
            let task = Task {
                withUnsafeCurrentTask { $0?.cancel() }
                try await connection.query("INSERT INTO t VALUES (1)")
            }
            #expect(try await postgresError { _ = try await task.value }.kind == .cancelled)
            #expect(try await connection.number("SELECT count(*) FROM t") == 0)
        }
    }

    /// Cancels at every moment of a short statement: before it is sent, while it runs, when its
    /// answer is on the way. A request that came too late must not hit the next statement, and one
    /// that came too early must not be lost.
    @Test func atRandomMoments() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        try await withConnection { connection in
            var cancelled = 0
            for round in 0..<300 {
                let seconds = Double.random(in: 0...0.004, using: &generator)
                let task = Task { try await connection.query("SELECT pg_sleep($1)", round % 10 == 0 ? 60.0 : seconds) }
                let moment = Duration.seconds(Double.random(in: 0...0.006, using: &generator))
                let timer = Task {
                    try await Task.sleep(for: moment)
                    task.cancel()
                }
                do {
                    _ = try await task.value
                } catch let error as PostgresError {
                    #expect(error.kind == .cancelled, "seed \(seed), round \(round)")
                    cancelled += 1
                }
                timer.cancel()
                #expect(try await connection.stillWorks(), "seed \(seed), round \(round)")
            }
            #expect(cancelled >= 30, "seed \(seed)")
        }
    }

    @Test func theSilenceLimitEndsAStatement() async throws {
        try await withConnection(silence: .milliseconds(200)) { connection in
            let process = await connection.serverProcess
            let error = try await postgresError { try await connection.query("SELECT pg_sleep(60)") }
            #expect(error.kind == .timedOut && error.outcomeIsUnknown)
            try await withConnection { other async throws in #expect(try await other.isAtRest(process)) }
            #expect(try await connection.stillWorks())
            let streamed = try await postgresError { for try await _ in connection.stream("SELECT pg_sleep(60)") {} }
            #expect(streamed.kind == .timedOut)
            #expect(try await connection.stillWorks())
        }
    }

    /// The silence limit is about bytes: a statement that keeps sending may take longer in total.
    @Test func theSilenceLimitDoesNotEndAStatementThatSends() async throws {
        try await withConnection(silence: .milliseconds(1_500)) { connection in
            let sql = "SELECT repeat('x', 10000), pg_sleep(0.1) FROM generate_series(1, 25)"
            var rows = 0
            for try await _ in connection.stream(sql) { rows += 1 }
            #expect(rows == 25)
        }
    }
}
