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

/// Takes the bytes of an argument as they are.
extension ExactText: ExpressibleByArgument {
    package init?(argument: String) { self.init(argument) }
}

/// Which ledger a command works on, and how it answers.
struct LedgerOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The state of a running `jobledger up`; its env is read.", valueName: "dir"))
    var dataDir: String?

    @Flag(help: "Answer in JSON.")
    var json = false

    func settings() async throws -> LedgerSettings { try LedgerSettings(dataDirectory: dataDir) }
}

/// Where definitions beside the built-in ones come from.
struct ProjectionOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "A folder of projections of your own; they add to the built-in ones or replace them by name.",
            valueName: "dir"))
    var projections: String?

    func definitions() throws -> [ProjectionDefinition] { try ProjectionDefinition.all(in: projections) }

    func definition(named name: String) throws -> ProjectionDefinition {
        let all = try definitions()
        guard let definition = all.first(where: { $0.name == name }) else {
            throw ValidationError(
                "There is no projection \(name); there are: \(all.map(\.name).joined(separator: ", ")).")
        }
        return definition
    }
}

extension LedgerSettings {
    /// The database's address, which almost every command needs.
    func requireDatabaseURL() throws -> String {
        guard let databaseURL else {
            throw Problem(
                description:
                    "DATABASE_URL is not set: set it, write it into .env, or start a ledger of your own with `jobledger up`"
            )
        }
        return databaseURL.revealed
    }

    func requireRedis() throws -> RedisConfiguration {
        guard let redisURL else {
            throw Problem(
                description:
                    "REDIS_URL is not set: set it, write it into .env, or start a ledger of your own with `jobledger up`"
            )
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

    /// Where Redis is, if there is one: looked at before anything is connected, for a malformed
    /// address is a mistake of usage.
    func optionalRedis() throws -> RedisConfiguration? { try redisURL.map(Self.redis) }

    /// Runs `body` beside a feed.
    func withFeed(_ store: EventStore, _ redis: RedisConfiguration?, _ body: (Feed) async throws -> Void) async throws {
        try await Feed.with(store: store, redis: redis, logger: logger("jobledger"), body)
    }

    func connect(_ applicationName: String) async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            EventStore.configuration(
                url: try requireDatabaseURL(), ledger: ledger, applicationName: "\(applicationName) \(ledger)"),
            timeout: .seconds(5))
    }

    func logger(_ label: String) -> Logger {
        var logger = Logger.standardError(label)
        logger.logLevel = Logger.Level(rawValue: logLevel) ?? .info
        return logger
    }
}

extension LogMoment {
    /// Reads the value of the option `name`.
    static func option(_ name: String) -> @Sendable (String) throws -> LogMoment {
        { text in
            guard let moment = LogMoment(text) else {
                throw ValidationError("\(name) \(LogMoment.problem(with: text)).")
            }
            return moment
        }
    }

    /// As it may be given.
    var text: String {
        switch self {
        case .position(let position): "\(position)"
        case .time(let time): "\(time)"
        }
    }
}
