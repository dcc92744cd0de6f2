import EventStore
import Feed
import LedgerCore
import LedgerSettings
import Logging
import Projections

/// What a service is made of.
struct ServiceParts: Sendable {
    let commits: GroupCommit
    let responder: LedgerResponder
    let connections: ConnectionCount
    let feed: Feed
    let streams = OpenStreams()
    let stopping = StopSignal()
    let refusals: RefusalRecorder
    let logger: Logger
    private let tokens: TokenCheck?
    private let stores: [EventStore]
    private let heartbeat: Duration

    /// How often streams are asked whether their token still holds; it holds for that long at most,
    /// and ``TokenCheck/validity``.
    static let streamCheck = Duration.seconds(5)

    init(_ configuration: LedgerService.Configuration, logger: Logger) async throws {
        let http = configuration.http
        func store(_ purpose: String, _ connections: Int) -> EventStore {
            EventStore(
                url: configuration.url.revealed, ledger: configuration.ledger, connections: connections,
                timeout: .seconds(5),
                applicationName: "jobledger serve \(purpose) \(configuration.ledger)")
        }
        // Each for itself: a flood of one kind must not keep the others from Postgres.
        let (reading, writing, following, asking, watching) = (
            store("reads", http.readers), store("appends", 4), store("streams", 4), store("tokens", 2),
            store("watches", 2)
        )
        stores = [reading, writing, following, asking, watching]
        var quiet = logger
        // Of each request the framework would tell.
        quiet.logLevel = max(logger.logLevel, .info)
        self.logger = logger
        heartbeat = http.heartbeat

        let metrics = Metrics()
        refusals = RefusalRecorder(store: writing, logger: logger)
        commits = GroupCommit(writing)
        // Whether there is a ledger is found out before the first request.
        _ = try await watching.head()
        let feed = Feed(store: following, redis: configuration.redis, logger: logger)
        self.feed = feed
        connections = ConnectionCount(limit: min(http.connections, max(16, OpenFiles.raise())))
        if connections.limit < http.connections {
            logger.notice(
                "fewer connections than JOBLEDGER_HTTP_CONNECTIONS, for want of open files (ulimit -n)",
                metadata: ["connections": "\(connections.limit)"])
        }

        tokens = configuration.needsToken ? TokenCheck(TokenStore(asking)) : nil
        let bodies = BodyBudget(perRequest: http.bodyBytes, total: http.bufferBytes)
        let pages = EventPages(store: reading)
        let definition = try ProjectionDefinition.all().first { $0.name == JobTables.jobs }
        guard let definition else {
            throw LedgerService.Mistake(description: "this program was built without \(JobTables.jobs)")
        }
        let places = StreamCount(limit: http.streamsPerToken)
        let follow = EventStreams(
            store: reading, feed: feed, pages: pages, tokens: tokens, streams: streams,
            count: places, metrics: metrics, heartbeat: http.heartbeat)
        let reads = ReadLimits(time: http.read, readers: http.readers)
        let operations = OperationsRoutes(
            health: Health(store: watching, stopping: stopping), metrics: metrics, connections: connections,
            bodies: bodies,
            feed: feed, streams: places, commits: commits, reads: reads)
        let routes =
            AppendRoutes(store: writing, commits: commits, bodies: bodies, metrics: metrics, refusals: refusals).routes
            + JobRoutes(
                store: reading, tables: JobTables(store: reading), definition: definition
            ).routes
            + EventRoutes(store: reading, pages: pages, streams: follow).routes + SealRoutes(store: reading).routes
            + TrailRoutes(store: reading).routes
            + operations.routes
        responder = LedgerResponder(
            routes: routes, tokens: tokens, cors: CrossOrigin(origins: http.corsOrigins.map { ExactText($0) }),
            hosts: AllowedHosts(onlyLoopback: !configuration.needsToken), metrics: metrics, refusals: refusals,
            connections: connections, reads: reads, watch: ProjectionWatch(store: watching, limit: http.wait),
            bodies: bodies)
    }

    /// Ends all streams, and has the health checks say that it is over.
    func stop() {
        stopping.set()
        streams.end()
    }

    /// Wakes the streams now and then, and sees to whose tokens still work, until the service
    /// stops.
    func tick() async {
        let interval = min(heartbeat, Self.streamCheck)
        await withTaskGroup(of: Void.self) { group in
            group.addTask { await stopping.wait() }
            group.addTask { [streams] in
                // Cancelled while it sleeps: the end of this task.
                while (try? await Task.sleep(for: interval)) != nil { streams.tick() }
            }
            group.addTask { [connections, tokens] in
                guard let tokens else { return await stopping.wait() }
                while (try? await Task.sleep(for: Self.streamCheck)) != nil {
                    await connections.review { try await tokens.scopes(of: $0) != nil }
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
