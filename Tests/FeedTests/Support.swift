import EventStore
import Feed
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Redis

extension TestLedger {
    func relay(_ redis: RedisConfiguration, window: Int = 50) -> Relay {
        var logger = Logger(label: "test") { StreamLogHandler.standardError(label: $0) }
        logger.logLevel = .critical
        return Relay(store: store, url: url, redis: redis, window: window, logger: logger)
    }

    func subscription(_ redis: RedisConfiguration) throws -> RedisSubscription {
        try RedisSubscription(redis, channels: [name.headChannel], patterns: [name.everyJob])
    }

    func relayPosition() async throws -> Position {
        try await store.pool.withConnection {
            try await $0.query("SELECT coalesce(max(position), 0) FROM checkpoints WHERE reader = $1", Relay.reader).only()
                .decode(0)
        }
    }
}

/// What a published message says, as far as tests ask.
struct Message: Decodable {
    var specversion: String
    var id: String
    var source: String
    var type: String
    var subject: String
    var position: String
    var streamversion: Int
    var recordedtime: String
    var time: String
    var actor: String?
    var correlationid: String?
    var dataref: String?
    var datacontenttype: String?

    init?(_ item: RedisSubscription.Item) throws {
        guard case .message(let channel, _, let payload) = item, channel.contains(":job:") else { return nil }
        self = try JSONDecoder().decode(Message.self, from: Data(payload))
    }
}
