import Feed
import LedgerSettings
import Logging
import Projections
import Redis
import ServiceLifecycle
import UnixSignals

/// Something that runs until it is told to stop, for a service group.
struct Running: Service {
    let body: @Sendable () async throws -> Void

    init(_ body: @escaping @Sendable () async throws -> Void) { self.body = body }

    func run() async throws {
        do {
            try await cancelWhenGracefulShutdown { try await body() }
        } catch is CancellationError {
            // It was told to stop, and has: no error for whoever asked.
        }
    }
}

extension LedgerSettings {
    /// Runs `services` until SIGTERM or Ctrl-C.
    func serve(_ services: [any Service], logger: Logger) async throws {
        let group = ServiceGroup(
            configuration: .init(
                services: services.map { .init(service: $0, successTerminationBehavior: .gracefullyShutdownGroup) },
                gracefulShutdownSignals: [.sigterm, .sigint], logger: logger))
        try await group.run()
    }

    func projectors(_ definitions: [ProjectionDefinition], window: Int? = nil, logger: Logger) throws -> [any Service] {
        let url = try requireDatabaseURL()
        let store = try store()
        return definitions.map { definition in
            let projector = Projector(definition, store: store, url: url, window: window ?? self.window, logger: logger)
            return Running { await projector.run() }
        }
    }

    func relay(_ redis: RedisConfiguration, logger: Logger) throws -> any Service {
        let relay = Relay(store: try store(), url: try requireDatabaseURL(), redis: redis, logger: logger)
        return Running { await relay.run() }
    }
}
