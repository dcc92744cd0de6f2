public import ArgumentParser
import Diagnostics
import EventStore
import Feed
import LedgerCore
import LedgerSettings
import Logging
import Postgres
import Projections
import Redis

/// An argument whose bytes are kept as they are.
extension ExactText: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

/// The options that select the ledger and the form of the answer.
struct LedgerOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The data directory of a running `jobledger up`.", valueName: "dir"))
    var dataDir: String?

    @Flag(help: "Answer in JSON.")
    var json = false

    func settings() async throws -> LedgerSettings { try LedgerSettings(dataDirectory: dataDir) }
}

/// The option that adds projections to the built-in ones.
struct ProjectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A folder with projections of your own. They are added to the built-in ones; one of the same name "
                + "replaces a built-in one.", valueName: "dir"))
    var projections: String?

    func definitions() throws -> [ProjectionDefinition] { try ProjectionDefinition.all(in: projections) }

    func definition(named name: String) throws -> ProjectionDefinition {
        let all = try definitions()
        guard let definition = all.first(where: { $0.name == name }) else {
            throw ValidationError(
                "There is no projection \(name). There are: \(all.map(\.name).joined(separator: ", ")).")
        }
        return definition
    }
}

extension LedgerSettings {
    /// The address of the database, which almost every command needs.
    func requireDatabaseURL() throws -> String {
        guard let databaseURL else {
            throw Problem(
                description:
                    "DATABASE_URL is not set: set it, write it into .env, or start a ledger of your own "
                    + "with `jobledger up`")
        }
        return databaseURL.revealed
    }

    func requireRedis() throws -> RedisConfiguration {
        guard let redisURL else {
            throw Problem(
                description:
                    "REDIS_URL is not set: set it, write it into .env, or start a ledger of your own "
                    + "with `jobledger up`")
        }
        return try Self.redis(redisURL)
    }

    private static func redis(_ url: SecretText) throws -> RedisConfiguration {
        do {
            return try RedisConfiguration(url: url.revealed)
        } catch {
            throw Problem(description: "REDIS_URL: \(error.message)")
        }
    }

    func store(connections: Int = 2) throws -> EventStore {
        EventStore(
            url: try requireDatabaseURL(), ledger: ledger, connections: connections, timeout: .seconds(5),
            applicationName: "jobledger \(ledger)")
    }

    /// The address of Redis, if one is set. It is parsed before any connection is made, because a
    /// malformed address is a usage error.
    func optionalRedis() throws -> RedisConfiguration? { try redisURL.map(Self.redis) }

    /// Runs `body` with a feed, which is stopped afterwards.
    func withFeed(_ store: EventStore, _ redis: RedisConfiguration?, _ body: (Feed) async throws -> Void) async throws {
        try await Feed.with(store: store, redis: redis, logger: logger("jobledger"), body)
    }

    func connect(_ applicationName: String) async throws -> PostgresConnection {
        try await PostgresConnection.connect(try configuration(applicationName), timeout: .seconds(5))
    }

    private func configuration(_ applicationName: String) throws -> PostgresConfiguration {
        EventStore.configuration(
            url: try requireDatabaseURL(), ledger: ledger, applicationName: "\(applicationName) \(ledger)")
    }

    /// Runs `body`, which may take long, and meanwhile looks each second whether the address leads
    /// to another server: an old leader that still answers is left then, and not written to or read
    /// from until the end of a file. What runs a feed, or works with a lease, looks by itself.
    func followingLeader<Value: Sendable>(
        isolation actor: isolated (any Actor)? = #isolation, _ body: () async throws -> Value
    ) async throws -> Value {
        let configuration = try configuration("jobledger leader")
        return try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask { await LeadingServer.keepLooking(with: configuration) }
            defer { group.cancelAll() }
            return try await body()
        }
    }

    func logger(_ label: String) -> Logger {
        var logger = Logger.standardError(label)
        logger.logLevel = Logger.Level(rawValue: logLevel) ?? .info
        return logger
    }
}

extension LogMoment {
    /// Parses the value of the option `name`.
    static func option(_ name: String) -> @Sendable (String) throws -> LogMoment {
        { text in
            guard let moment = LogMoment(text) else {
                throw ValidationError("\(name) \(LogMoment.problem(with: text)).")
            }
            return moment
        }
    }

    /// The position or time in the form in which options take it.
    var text: String {
        switch self {
        case .position(let position): "\(position)"
        case .time(let time): "\(time)"
        }
    }
}
