import BlockingIO
import CLibpq

extension PostgresPool {
    /// Whether a server answers at the pool's address, if only to refuse the connection: for a
    /// wrong password, for example, or for a database that does not exist. False for one that is
    /// starting or stopping.
    ///
    /// libpq does not say why a connection failed, other than in the server's language.
    package nonisolated func isAnswered() async -> Bool { await Ping().isAnswered(configuration) }
}

/// Asks on a thread of its own, because asking blocks, for at most the time limit of each host.
private actor Ping {
    private let executor = BlockingExecutor(label: "postgres-ping")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    func isAnswered(_ configuration: PostgresConfiguration) -> Bool {
        guard let address = try? ConnectionString(configuration.url) else { return false }
        return withCSettings(configuration.libpqSettings(address)) { PQpingParams($0, $1, 1) } == PQPING_OK
    }
}
