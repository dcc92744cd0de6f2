import EventStore
import Feed
import LedgerCore
import LedgerSettings
import Logging
import Projections

/// The parts of a service, connected with each other.
struct ServiceParts: Sendable {
    let commits: GroupCommit
    let responder: LedgerResponder
    let connections: ConnectionCount
    let feed: Feed
    let streams = OpenStreams()
    let stopping = StopSignal()
    let refusals: RefusalRecorder
    let logger: Logger
    private let health: Health
    private let tokens: TokenCheck?
    private let stores: [EventStore]
    private let heartbeat: Duration

    /// How often streams and connections check that their token is still valid. A revoked token
    /// works for at most this long plus ``TokenCheck/validity``.
    static let streamCheck = Duration.seconds(5)

    init(_ configuration: LedgerService.Configuration, logger: Logger) async throws {
        let http = configuration.http
        func store(_ purpose: String, _ connections: Int, writes: Bool = false) -> EventStore {
            EventStore(
                url: configuration.url.revealed, ledger: configuration.ledger, connections: connections,
                timeout: .seconds(5),
                applicationName: "jobledger serve \(purpose) \(configuration.ledger)", writes: writes)
        }
        // Each purpose has connections of its own: a flood of one kind of request must not keep the
        // others from Postgres.
        let (reading, writing, following, asking, watching) = (
            store("reads", http.readers), store("appends", 4, writes: true), store("streams", 4), store("tokens", 2),
            store("watches", 2)
        )
        stores = [reading, writing, following, asking, watching]
        var quiet = logger
        // At the debug level the framework would log every request.
        quiet.logLevel = max(logger.logLevel, .info)
        self.logger = logger
        heartbeat = http.heartbeat

        let metrics = Metrics()
        refusals = RefusalRecorder(store: writing, logger: logger)
        commits = GroupCommit(writing)
        // Fails now if there is no ledger, not at the first request.
        try await LedgerWait(store: watching, logger: logger).run()
        let feed = Feed(store: following, redis: configuration.redis, logger: logger)
        self.feed = feed
        connections = ConnectionCount(limit: min(http.connections, max(16, OpenFiles.raise())))
        if connections.limit < http.connections {
            logger.notice(
                "the limit of open files (ulimit -n) allows fewer connections than JOBLEDGER_HTTP_CONNECTIONS",
                metadata: ["connections": "\(connections.limit)"])
        }

        tokens = configuration.needsToken ? TokenCheck(TokenStore(asking)) : nil
        let bodies = BodyBudget(perRequest: http.bodyBytes, total: http.bufferBytes)
        let pages = EventPages(store: reading)
        let definitions = try configuration.projections ?? ProjectionDefinition.all()
        guard let definition = definitions.first(where: { $0.name == JobTables.jobs }) else {
            throw LedgerService.Mistake(description: "this program was built without \(JobTables.jobs)")
        }
        let places = StreamCount(limit: http.streamsPerToken)
        let follow = EventStreams(
            store: reading, feed: feed, pages: pages, streams: streams,
            count: places, metrics: metrics, heartbeat: http.heartbeat)
        let watch = ProjectionWatch(store: watching, limit: http.wait)
        let reads = ReadLimits(time: http.read, readers: http.readers)
        health = Health(store: watching, commits: commits, stopping: stopping)
        let operations = OperationsRoutes(
            health: health, metrics: metrics, connections: connections,
            bodies: bodies,
            feed: feed, streams: places, commits: commits, reads: reads)
        let routes =
            AppendRoutes(store: writing, commits: commits, bodies: bodies, metrics: metrics, refusals: refusals).routes
            + JobRoutes(
                store: reading, tables: JobTables(store: reading), definition: definition
            ).routes
            + StreamRoutes(store: reading, watch: watch, definitions: definitions).routes
            + EventRoutes(store: reading, pages: pages, streams: follow).routes + SealRoutes(store: reading).routes
            + TrailRoutes(store: reading).routes
            + operations.routes
            + DocumentRoutes(documents: ServedDocuments(store: reading, logger: logger), tokens: tokens).routes
        responder = LedgerResponder(
            routes: routes, tokens: tokens, cors: CrossOrigin(origins: http.corsOrigins.map { ExactText($0) }),
            hosts: AllowedHosts(onlyLoopback: !configuration.needsToken), metrics: metrics, refusals: refusals,
            connections: connections, reads: reads, watch: watch,
            bodies: bodies)
    }

    /// Ends all streams, and makes the health checks report that the service is stopping.
    func stop() {
        stopping.set()
        streams.end()
    }

    /// Wakes the streams regularly, checks the tokens of open connections, and looks who holds the
    /// log, until the service stops.
    func tick() async {
        let interval = min(heartbeat, Self.streamCheck)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await stopping.wait() }
            group.addTask { [health] in await health.watchLog() }
            group.addTask { [streams] in
                // Cancellation ends the sleep, and with it this task.
                while (try? await Task.sleep(for: interval)) != nil { streams.tick() }
            }
            group.addTask { [connections, tokens] in
                guard let tokens else { return await stopping.wait() }
                while (try? await Task.sleep(for: Self.streamCheck)) != nil {
                    await connections.review { try await tokens.scopes(of: $0) != nil }
                }
            }
            group.addTask { [streams, tokens] in
                guard let tokens else { return await stopping.wait() }
                while (try? await Task.sleep(for: Self.streamCheck)) != nil {
                    await streams.review { await tokens.isStillValid($0, for: .read) }
                }
            }
            await group.next()
            group.cancelAll()
        }
    }

    func close() async {
        for store in stores { await store.close() }
    }
}
