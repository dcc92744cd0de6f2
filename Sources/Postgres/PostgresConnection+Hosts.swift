/// An address with several hosts: libpq takes the first that accepts writes, and an old leader
/// does. So the ledger asks each of them for its timeline.
extension PostgresConnection {
    /// The hosts of an address that has several.
    static func hosts(of configuration: PostgresConfiguration) -> Range<Int> {
        // An address that libpq refuses is reported where it is connected to.
        let count = (try? ConnectionString(configuration.url))?.hosts.count ?? 0
        return 0..<(count > 1 ? count : 0)
    }

    /// Opens a session with one host of the address, and closes it, so that its timeline is known.
    static func meet(_ host: Int, of configuration: PostgresConfiguration) async {
        do {
            let connection = try PostgresConnection(configuration)
            try await connection.open(host: host, isSurvey: true)
            await connection.close()
        } catch {
            // A host that is away, a standby or an old leader has nothing to say here.
        }
    }

    /// The same with all of them at once.
    static func meetAllHosts(of configuration: PostgresConfiguration) async {
        await withTaskGroup(of: Void.self) { group in
            for host in hosts(of: configuration) { group.addTask { await meet(host, of: configuration) } }
        }
    }
}
