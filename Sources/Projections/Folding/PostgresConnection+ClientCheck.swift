import Postgres

extension PostgresConnection {
    /// While a statement of ours runs, the server looks whether we are still there: what a killed
    /// process had begun ends with it, and who takes over does not wait for its locks.
    func endStatementsOfLostClients() async throws {
        try await execute(
            script: """
                DO $$ BEGIN
                  SET client_connection_check_interval = '500ms';
                EXCEPTION WHEN invalid_parameter_value THEN
                  NULL;  -- a platform on which it cannot look; it notices at the end of the statement
                END $$
                """)
    }
}
