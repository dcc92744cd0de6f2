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
    /// - Parameter limit: how long to wait; `nil` for as long as libpq takes.
    static func meet(_ host: Int, of configuration: PostgresConfiguration, within limit: Duration? = nil) async {
        var configuration = configuration
        configuration.silence = .seconds(configuration.connectTimeout)
        do {
            let connection = try PostgresConnection(configuration)
            try await connection.survey(host, within: limit)
            await connection.close()
        } catch {
            // A host that is away, or is an old leader, has nothing to say here.
        }
    }

    /// The same with all of them at once, without waiting for those that do not answer.
    static func meetAllHosts(of configuration: PostgresConfiguration) async {
        guard let leading = configuration.leading else { return }
        await leading.survey {
            await withTaskGroup(of: Void.self) { group in
                for host in hosts(of: configuration) {
                    group.addTask { await meet(host, of: configuration, within: leading.patience) }
                }
            }
        }
    }
}
