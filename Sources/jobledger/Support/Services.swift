import EventStore
import Feed
import LedgerServer
import LedgerSettings
import Logging
import Postgres
import Projections
import Redis
import ServiceLifecycle
import UnixSignals

/// A closure as a service of a service group: it runs until it is cancelled.
struct Running: Service {
    let body: @Sendable () async throws -> Void

    init(_ body: @escaping @Sendable () async throws -> Void) { self.body = body }

    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await body() }
        } catch is CancellationError {
            // This is the normal end of a service that was told to stop.
        }
    }
}

extension LedgerSettings {
    /// Runs `services` until SIGTERM or Ctrl-C.
    func serve(_ services: [any Service], logger: Logger) async throws {
        try await checkRights(logger)
        let group = ServiceGroup(
            configuration: .init(
                services: services.map { .init(service: $0, successTerminationBehavior: .gracefullyShutdownGroup) },
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }

    /// Refuses to start on a ledger whose roles are missing, as after a restore on another server.
    /// If the ledger cannot be reached or asked yet, the services start all the same and wait for
    /// it.
    private func checkRights(_ logger: Logger) async throws {
        let connection: PostgresConnection
        do {
            connection = try await PostgresConnection.connect(
                EventStore.configuration(
                    url: try requireDatabaseURL(), ledger: ledger, applicationName: "jobledger start"))
        } catch let error as PostgresError where error.isRetriable {
            return logger.warning("the ledger cannot be reached yet", metadata: ["error": "\(error)"])
        }
        do {
            try await RightsMissing.check(on: connection)
            await connection.close()
        } catch let error as PostgresError {
            await connection.close()
            logger.warning("the ledger's roles could not be checked", metadata: ["error": "\(error)"])
        } catch {
            await connection.close()
            throw error
        }
    }

    func projectors(_ definitions: [ProjectionDefinition], window: Int? = nil, logger: Logger) throws -> [any Service] {
        let url = try requireDatabaseURL()
        let store = try store()
        return definitions.map { definition in
            let projector = Projector(definition, store: store, url: url, window: window ?? self.window, logger: logger)
            return Running { await projector.run() }
        }
    }

    /// Drift checks of the projections whose rows depend on one job each. For every other
    /// projection a log message says that it is not checked.
    func driftChecks(_ definitions: [ProjectionDefinition], jobsPerSecond: Double, logger: Logger) throws
        -> [any Service]
    {
        let store = try store()
        return definitions.compactMap { definition in
            guard definition.key == .stream else {
                logger.notice(
                    """
                    not audited: its key is the log, so no job can be refolded on its own; \
                    jobledger verify compares all of it
                    """, metadata: ["projection": "\(definition.name)"])
                return nil
            }
            let check = DriftCheck(definition, store: store, jobsPerSecond: jobsPerSecond, logger: logger)
            return Running { try await check.run() }
        }
    }

    func relay(_ redis: RedisConfiguration, logger: Logger) throws -> any Service {
        let relay = Relay(
            store: try store(), url: try requireDatabaseURL(), redis: redis, longestHold: longestHold, logger: logger)
        return Running { await relay.run() }
    }

    /// The HTTP service.
    /// - Parameters:
    ///   - host: the address to listen on; that of the settings if not given.
    ///   - projections: those whose read models are shown.
    ///   - started: called with the service's URL once it listens.
    func service(
        host: String?, port: Int, needsToken: Bool, projections: [ProjectionDefinition], logger: Logger,
        started: @escaping @Sendable (_ url: String) async throws -> Void
    ) throws -> LedgerService {
        var http = http
        http.host = host ?? http.host
        let redis = redisURL == nil ? nil : try requireRedis()
        let configuration = LedgerService.Configuration(
            url: try requireDatabaseURL(), ledger: ledger, redis: redis, http: http, port: port, needsToken: needsToken,
            projections: projections)
        do {
            return try LedgerService(configuration, logger: logger, started: started)
        } catch let mistake as LedgerService.Mistake {
            throw Problem(description: mistake.description)
        }
    }
}
