import Testing

@testable import Postgres

private struct Stop: Error {}

@Suite(.timeLimit(.minutes(10))) struct TransactionTests {
    private func withTable(_ body: (PostgresConnection) async throws -> Void) async throws {
        try await withConnection { connection in
            try await connection.execute(
                script: "CREATE TEMP TABLE t (n int PRIMARY KEY DEFERRABLE INITIALLY DEFERRED)")
            try await body(connection)
        }
    }

    private func count(_ connection: PostgresConnection) async throws -> Int {
        #expect(await connection.isInTransaction == false)
        return try await connection.number("SELECT count(*) FROM t")
    }

    @Test func commits() async throws {
        try await withTable { connection in
            let result = try await connection.transaction {
                try await $0.number("INSERT INTO t VALUES (1) RETURNING n")
            }
            #expect(result == 1)
            #expect(try await count(connection) == 1)
        }
    }

    @Test func anErrorRollsBack() async throws {
        try await withTable { connection in
            await #expect(throws: Stop.self) {
                try await connection.transaction {
                    try await $0.query("INSERT INTO t VALUES (1)")
                    throw Stop()
                }
            }
            #expect(try await count(connection) == 0)
            let error = try await postgresError {
                try await connection.transaction { try await $0.query("SELECT 1 / 0") }
            }
            #expect(error.sqlState?.code == "22012")
            #expect(try await count(connection) == 0)
        }
    }

    /// The server answers such a COMMIT with a ROLLBACK and no error.
    @Test func aTransactionInWhichAStatementFailedDoesNotPretendToCommit() async throws {
        try await withTable { connection in
            let error = try await postgresError {
                try await connection.transaction {
                    try await $0.query("INSERT INTO t VALUES (1)")
                    _ = try? await $0.query("SELECT 1 / 0")
                }
            }
            #expect(error.sqlState == .inFailedTransaction && !error.isRetriable && !error.outcomeIsUnknown)
            #expect(try await count(connection) == 0)
        }
    }

    @Test func aCommitThatFailsRollsBack() async throws {
        try await withTable { connection in
            let error = try await postgresError {
                try await connection.transaction { try await $0.query("INSERT INTO t VALUES (1), (1)") }
            }
            #expect(error.sqlState == .uniqueViolation)
            #expect(try await count(connection) == 0)
        }
    }

    @Test func cancellationRollsBack() async throws {
        try await withTable { connection in
            let process = await connection.serverProcess
            let task = Task {
                try await connection.transaction {
                    try await $0.query("INSERT INTO t VALUES (1)")
                    try await $0.query("SELECT pg_sleep(600)")
                }
            }
            try await withConnection { try await $0.waitUntilAsleep(process) }
            task.cancel()
            #expect(try await postgresError { try await task.value }.kind == .cancelled)
            #expect(try await count(connection) == 0)
        }
    }

    @Test func aTaskCancelledBeforeTheCommitDoesNotCommit() async throws {
        try await withTable { connection async throws in
            let task = Task {
                try await connection.transaction {
                    try await $0.query("INSERT INTO t VALUES (1)")
                    withUnsafeCurrentTask { $0?.cancel() }
                }
            }
            #expect(try await postgresError { try await task.value }.kind == .cancelled)
            #expect(try await count(connection) == 0)
        }
    }

    @Test func aDiscardedTransactionLeavesNothing() async throws {
        try await withTable { connection in
            let seen = try await connection.discardedTransaction {
                try await $0.query("INSERT INTO t VALUES (1)")
                return try await $0.number("SELECT count(*) FROM t")
            }
            #expect(seen == 1)
            #expect(try await count(connection) == 0)
        }
    }

    @Test func readOnlyAndIsolationReachTheServer() async throws {
        try await withTable { connection in
            let error = try await postgresError {
                try await connection.transaction(readOnly: true) { try await $0.query("CREATE TABLE never (n int)") }
            }
            #expect(error.sqlState?.code == "25006")
            let level: String = try await connection.transaction(.serializable) {
                try await $0.query("SELECT current_setting('transaction_isolation')").only().decode(0)
            }
            #expect(level == "serializable")
        }
    }

    /// The inner COMMIT would commit the outer's work.
    @Test func aTransactionInsideATransactionIsAnError() async throws {
        try await withTable { connection in
            let error = try await postgresError {
                try await connection.transaction { outer in
                    try await outer.query("INSERT INTO t VALUES (1)")
                    try await outer.transaction { try await $0.query("INSERT INTO t VALUES (2)") }
                }
            }
            #expect(error.kind == .usage)
            #expect(try await count(connection) == 0)
        }
    }

    /// Cancelling the rest of the stream would abort the transaction.
    @Test func aStreamLeftEarlyDoesNotHarmTheTransaction() async throws {
        try await withTable { connection in
            try await connection.transaction {
                try await $0.query("INSERT INTO t VALUES (1)")
                for try await _ in $0.stream("SELECT generate_series(1, 200000)", chunk: 1) { break }
                try await $0.query("INSERT INTO t VALUES (2)")
                for try await _ in $0.copyOut("COPY (SELECT generate_series(1, 200000)) TO STDOUT", chunk: 1) { break }
            }
            #expect(try await count(connection) == 2)
        }
    }

    @Test func aThrownErrorCancelsAStreamThatIsLeft() async throws {
        try await withTable { connection async throws in
            await #expect(throws: Stop.self) {
                try await connection.transaction {
                    // Read to its end, this would take hours.
                    for try await _ in $0.stream("SELECT generate_series(1, 100000000000)", chunk: 1) { throw Stop() }
                }
            }
            #expect(try await count(connection) == 0)
        }
    }
}
