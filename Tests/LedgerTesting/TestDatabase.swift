import Postgres

/// A new database on the shared server for one test, which is dropped afterwards.
package enum TestDatabase {
    /// - Parameters:
    ///   - options: options of `CREATE DATABASE`, such as the encoding.
    ///   - settings: settings of every session, in the form of `ALTER DATABASE … SET`.
    package static func with(_ options: String, settings: [String] = [], _ body: (_ url: String) async throws -> Void)
        async throws
    {
        let shared = try await TestServers.shared.postgresURL()
        let name = "d_\(UInt32.random(in: 0...UInt32.max))"
        let admin = try await PostgresConnection.connect(PostgresConfiguration(url: shared), timeout: .seconds(60))
        try await admin.execute(script: "CREATE DATABASE \(name) TEMPLATE template0 \(options)")
        for setting in settings { try await admin.execute(script: "ALTER DATABASE \(name) SET \(setting)") }
        // A later keyword overrides the database in the address.
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
