import Testing

@testable import Postgres

@Suite(.timeLimit(.minutes(10))) struct ServerErrorTests {
    @Test func anErrorHasTheServersMessageAndFields() async throws {
        try await withConnection { connection in
            try await connection.execute(
                script: "CREATE TEMP TABLE t (n int CONSTRAINT only_once UNIQUE); INSERT INTO t VALUES (1)")
            let unique = try await postgresError { try await connection.query("INSERT INTO t VALUES ($1)", 1) }
            #expect(unique.kind == .server)
            #expect(unique.sqlState == .uniqueViolation)
            #expect(unique.constraint == "only_once")
            #expect(unique.detail == "Key (n)=(1) already exists.")
            #expect(unique.description.contains("(SQLSTATE 23505)\n  detail: Key (n)=(1)"))

            let hinted = try await postgresError { try await connection.query("SELECT no_such_function($1)", 1) }
            #expect(hinted.sqlState == .undefinedFunction)
            #expect(hinted.hint?.contains("explicit type casts") == true)

            let inner = try await postgresError {
                try await connection.execute(script: "DO $$ BEGIN PERFORM 1 / 0; END $$")
            }
            #expect(inner.sqlState?.code == "22012" && inner.context?.contains("PL/pgSQL") == true)
            #expect(try await connection.stillWorks())
        }
    }

    @Test func aStateIsAPattern() async throws {
        try await withConnection { connection in
            do {
                try await connection.query("SELECT * FROM no_such_table")
                Issue.record("no error")
            } catch SQLState.uniqueViolation {
                Issue.record("the wrong state matched")
            } catch SQLState.undefinedTable {
            }
        }
    }

    @Test func aTextThatPostgresCannotStoreIsRefused() async throws {
        try await withConnection { connection in
            let parameter = try await postgresError { try await connection.query("SELECT $1", "a\0b") }
            #expect(parameter.sqlState?.code == "22021" && !parameter.isRetriable)
            let script = try await postgresError { try await connection.execute(script: "SELECT 1;\0 SELECT 1 / 0") }
            #expect(script.kind == .usage)
            #expect(try await connection.stillWorks())
        }
    }

    @Test func tooManyParametersAreNoBrokenConnection() async throws {
        try await withConnection { connection in
            let statement = PostgresStatement("SELECT 1", Array(repeating: 1, count: 65_536))
            let error = try await postgresError { try await connection.query(statement) }
            #expect(error.kind == .usage && !error.isRetriable && error.message.contains("65536"))
            #expect(try await connection.stillWorks())
        }
    }

    @Test func aScriptThatFailsIsUndone() async throws {
        try await withConnection { connection in
            let error = try await postgresError {
                try await connection.execute(script: "CREATE TEMP TABLE gone (n int); SELECT 1 / 0; SELECT 2")
            }
            #expect(error.sqlState?.code == "22012")
            await #expect { try await connection.query("SELECT * FROM gone") } throws: { SQLState.undefinedTable ~= $0 }
        }
    }

    @Test func copyIsRefusedWhereDataCannotFlow() async throws {
        try await withConnection { connection in
            try await connection.execute(script: "CREATE TEMP TABLE t (n int)")
            for sql in ["COPY t FROM STDIN", "COPY (SELECT generate_series(1, 100000)) TO STDOUT"] {
                #expect(try await postgresError { try await connection.query(PostgresStatement(sql)) }.kind == .usage)
                #expect(try await postgresError { try await connection.execute(script: sql) }.kind == .usage)
                #expect(try await postgresError { for try await _ in connection.stream(sql) {} }.kind == .usage)
                #expect(try await connection.stillWorks())
            }
        }
        for sql in ["COPY pg_proc TO STDOUT", "COPY pg_proc FROM STDIN"] {
            try await withConnection { connection in
                let error = try await postgresError { _ = try await connection.pipeline([PostgresStatement(sql)]) }
                #expect(error.kind == .usage || error.kind == .connectionLost)
            }
        }
    }
}
