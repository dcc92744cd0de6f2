import Postgres

/// A database of a test's own on the shared server, dropped afterwards.
package enum TestDatabase {
    /// - Parameters:
    ///   - options: of `CREATE DATABASE`, such as its encoding.
    ///   - settings: of every session, as `ALTER DATABASE … SET` takes them.
    package static func with(_ options: String, settings: [String] = [], _ body: (_ url: String) async throws -> Void)
        async throws
    {
        let shared = try await TestServers.shared.postgresURL()
        let name = "d_\(UInt32.random(in: 0...UInt32.max))"
        let admin = try await PostgresConnection.connect(PostgresConfiguration(url: shared), timeout: .seconds(60))
        try await admin.execute(script: "CREATE DATABASE \(name) TEMPLATE template0 \(options)")
        for setting in settings { try await admin.execute(script: "ALTER DATABASE \(name) SET \(setting)") }
        // Later keywords win over what the address says.
        let url = shared + (shared.contains("?") ? "&" : "?") + "dbname=\(name)"
        do {
            try await body(url)
        } catch {
            try await admin.execute(script: "DROP DATABASE \(name) (FORCE)")
            throw error
        }
        try await admin.execute(script: "DROP DATABASE \(name) (FORCE)")
        await admin.close()
    }
}
