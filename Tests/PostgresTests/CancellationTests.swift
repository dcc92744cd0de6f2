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

    /// Sends a row every 10 ms, until nobody holds the lock any more.
    private static let sendUntilUnlocked = """
        WITH RECURSIVE row AS (
          SELECT 1 AS n UNION ALL SELECT n + 1 FROM row WHERE NOT pg_try_advisory_xact_lock_shared($1)
        )
        SELECT repeat('x', 10000), pg_sleep(0.01) FROM row
        """
    /// Whether that statement has run for longer than a second, or has ended.
    private static let hasRunLong = """
        SELECT count(*) FROM pg_stat_activity
         WHERE pid = $1 AND query LIKE '%pg_try_advisory_xact_lock_shared%'
           AND (state <> 'active' OR clock_timestamp() - query_start > interval '1.2 s')
        """

    /// The silence limit is about bytes: a statement that keeps sending may take longer in total.
    /// All its rows are one chunk, so that a limit on the time of a chunk would end it as well.
    @Test func theSilenceLimitDoesNotEndAStatementThatSends() async throws {
        try await withConnection(silence: .seconds(1)) { connection in
            let process = await connection.serverProcess
            try await withConnection { other in
                let lock = Int64.random(in: 0 ... .max)
                try await other.query("SELECT pg_advisory_lock($1)", lock)
                let reading = Task {
                    var rows = 0
                    for try await _ in connection.stream(Self.sendUntilUnlocked, lock, chunk: 1 << 30) { rows += 1 }
                    return rows
                }
                try await eventually("the statement has run for longer than the limit, or has ended") {
                    try await other.number(Self.hasRunLong, process) == 1 ? () : nil
                }
                try await other.query("SELECT pg_advisory_unlock($1)", lock)
                #expect(try await reading.value > 1)
            }
        }
    }
}
