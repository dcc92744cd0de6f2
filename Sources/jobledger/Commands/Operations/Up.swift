import ArgumentParser
import Categories
import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerServer
import LedgerSettings
import Logging
import Postgres
import Projections
import Redis
import Seal
import ServiceLifecycle

struct Up: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Run the whole ledger, with its own Postgres and Redis where none is set.",
        discussion: """
            Starts the servers, migrates, installs the categories, and runs the HTTP service, the relay, all \
            projectors and the sealer until SIGTERM or Ctrl-C. The data directory (--data-dir) holds all state, and \
            the key that seals unless JOBLEDGER_SEAL_KEY names another. DIR/env holds the addresses and a token for \
            other programs. DIR/ready appears once everything works. After a kill -9 no process is left and no event \
            is lost: start it again.

            EXAMPLE
              jobledger up --data-dir /var/lib/jobledger
              psql "$(sed -n 's/^DATABASE_URL=//p' /var/lib/jobledger/env)"
              export $(grep ^JOBLEDGER_ /var/lib/jobledger/env)
              curl -H "Authorization: Bearer $JOBLEDGER_TOKEN" $JOBLEDGER_URL/v1/jobs
            """)

    @Option(help: ArgumentHelp("The directory that holds all state.", valueName: "dir"))
    var dataDir = LedgerSettings.standardDataDirectory

    @Option(
        help: """
            The port of the HTTP service, 0 for a free one. Default: JOBLEDGER_HTTP_PORT, otherwise the port of the \
            last start.
            """, transform: NumberOption.integer("--port", 0...65535))
    var port: Int?

    @Option(help: "The address of the HTTP service. Default: JOBLEDGER_HTTP_HOST, otherwise 127.0.0.1.")
    var host: String?

    @Flag(
        help: """
            Make the private Postgres and Redis listen on ports of 127.0.0.1, for clients without Unix sockets. \
            While they are down, any local user can listen on these ports and receive the passwords.
            """)
    var tcp = false

    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var categories: CategoryOptions

    func run() async throws {
        let environment = try LedgerSettings(fallsBackToStandardDirectory: false)
        let logger = environment.logger("jobledger")
        let definitions = try projections.definitions()
        let categories = try categories.definitions()
        // Checked before anything is started: an address that cannot be written to env is a usage
        // error.
        _ = try DataDirectory.addresses(environment)
        let directory = try DataDirectory(taking: dataDir)

        let listening: Listening = tcp ? .loopback : .unixSocket
        let postgres =
            environment.databaseURL == nil
            ? try await PrivatePostgres.start(directory: directory.postgres, listening: listening) : nil
        let redis: PrivateRedis?
        do {
            redis =
                environment.redisURL == nil
                ? try await PrivateRedis.start(directory: directory.redis, listening: listening) : nil
        } catch {
            try await postgres?.stop()
            throw error
        }
        do {
            let settings = environment.with(
                databaseURL: environment.databaseURL ?? (postgres?.url).map { SecretText($0) },
                redisURL: environment.redisURL ?? (redis?.url).map { SecretText($0) })
            try await migrate(settings, categories, logger)
            try await run(settings, postgres, redis, definitions, directory, logger)
        } catch {
            try await stop(postgres, redis, directory)
            throw error
        }
        try await stop(postgres, redis, directory)
        logger.info("stopped")
    }

    private func migrate(_ settings: LedgerSettings, _ categories: [CategoryDefinition], _ logger: Logger) async throws
    {
        let url = try settings.requireDatabaseURL()
        let migrator = Migrator(url: url, ledger: settings.ledger, files: try MigrationFile.embedded())
        let applied = try await migrator.up { mended in
            for right in mended { logger.warning("restored a missing right", metadata: ["right": "\(right)"]) }
        }
        if !applied.isEmpty { logger.info("migrated", metadata: ["files": "\(applied.count)"]) }
        let installed = try await CategoryDefinition.install(categories, url: url, ledger: settings.ledger)
        if !installed.isEmpty {
            logger.info("installed categories", metadata: ["names": "\(installed.joined(separator: ","))"])
        }
    }

    private func run(
        _ settings: LedgerSettings, _ postgres: PrivatePostgres?, _ redis: PrivateRedis?,
        _ definitions: [ProjectionDefinition],
        _ directory: DataDirectory, _ logger: Logger
    ) async throws {
        let redisConfiguration = try settings.requireRedis()
        let token = try await token(settings, directory)
        let seal = try await settings.prepareSeal(directory, logger: logger)
        let sockets = [postgres?.temporarySockets, redis?.temporarySockets].compactMap { $0 }
        try directory.write(settings, verifier: seal.verifier, sockets: sockets)
        let (addresses, listening) = AsyncStream<String>.makeStream()

        var services: [any Service] = [try settings.relay(redisConfiguration, logger: logger)]
        services += try settings.projectors(definitions, logger: logger)
        if let sealer = seal.sealer { services.append(Running { await sealer.run() }) }
        if let postgres {
            services.append(
                Running { try await ServerRestarts("Postgres", logger).keep(postgres.exit, postgres.restart) })
        }
        if let redis {
            services.append(Running { try await ServerRestarts("Redis", logger).keep(redis.exit, redis.restart) })
        }
        services.append(Running { try await Self.watch(directory, postgres, redis) })
        services.append(
            try settings.service(
                host: host, port: try port ?? settings.http.port ?? directory.choosePort(),
                needsToken: true, projections: definitions, logger: logger
            ) { listening.yield($0) })
        services.append(
            Running {
                guard let address = await addresses.first(where: { _ in true }) else { return }
                try directory.write(settings, verifier: seal.verifier, sockets: sockets, service: (address, token))
                try await Self.waitUntilProjecting(definitions, settings)
                try directory.markReady()
                Output.diagnostic(
                    "The ledger is up. Ctrl-C stops it; \(directory.env.path) has its addresses and a token.")
                Output.diagnostic("It is served at \(address).")
                // A service that returns would stop the group, so this one waits to be cancelled.
                try await Task.sleep(for: .seconds(1_000_000_000))
            })
        try await settings.serve(services, logger: logger)
    }

    /// Throws when the data directory is no longer the one that was locked, which stops everything.
    /// Stops a server whose socket is gone, so that ``ServerRestarts`` starts it again.
    private static func watch(_ directory: DataDirectory, _ postgres: PrivatePostgres?, _ redis: PrivateRedis?)
        async throws
    {
        while true {
            try directory.requireHeld()
            try await postgres?.stopUnreachable()
            try await redis?.stopUnreachable()
            // Polled, because no notification covers changes to the directories above.
            try await Task.sleep(for: .seconds(1))
        }
    }

    /// The token that is written to `env`: the token of the last run if it is still valid.
    private func token(_ settings: LedgerSettings, _ directory: DataDirectory) async throws -> String {
        let store = try settings.store(connections: 1)
        let tokens = TokenStore(store)
        let token: AccessToken
        if let last = try directory.lastToken().flatMap(AccessToken.init),
            try await tokens.scopes(of: last) == Set(Scope.allCases)
        {
            token = last
        } else {
            token = try await tokens.create(Set(Scope.allCases), name: "made by jobledger up")
        }
        await store.close()
        return token.text
    }

    /// Waits until every projection has its tables and has reached the head that the log had at the
    /// start, so that everything readable before the restart is readable again. Waits at most 30 s:
    /// projections that are far behind do not delay `ready` further.
    private static func waitUntilProjecting(_ definitions: [ProjectionDefinition], _ settings: LedgerSettings)
        async throws
    {
        let deadline = ContinuousClock.now.advanced(by: .seconds(30))
        var head: Position?
        while ContinuousClock.now < deadline {
            do {
                let connection = try await settings.connect("jobledger up")
                let start = if let head { head } else { try await connection.headOfLog() }
                head = start
                if try await areProjecting(definitions, to: start, connection, until: deadline) {
                    return await connection.close()
                }
            } catch let error as PostgresError where error.isRetriable {
                // The server is being started again by another service; this must not end the
                // rest.
                try await Task.sleep(for: .milliseconds(200))
            }
        }
    }

    private static func areProjecting(
        _ definitions: [ProjectionDefinition], to head: Position, _ connection: PostgresConnection,
        until deadline: ContinuousClock.Instant
    ) async throws -> Bool {
        while ContinuousClock.now < deadline {
            let states = try await ProjectionState.all(on: connection).filter { state in
                definitions.contains { $0.name == state.name }
            }
            if states.count == definitions.count, states.allSatisfy({ $0.position >= head || $0.stopped != nil }) {
                return true
            }
            try await Task.sleep(for: .milliseconds(20))
        }
        return false
    }

    private func stop(_ postgres: PrivatePostgres?, _ redis: PrivateRedis?, _ directory: DataDirectory) async throws {
        try directory.markStopped()
        try await redis?.stop()
        try await postgres?.stop()
    }
}
