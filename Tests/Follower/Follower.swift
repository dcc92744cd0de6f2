import Diagnostics
import EventStore
import Feed
import Foundation
import LedgerClient
import LedgerCore
import LedgerSettings
import Logging
import Redis

/// Follows a whole ledger for `scripts/check-ha`, and says on standard output, a line of JSON each,
/// what it was given: an event, or the place from which its history is not the ledger's.
///
///     follower client            over HTTP, from JOBLEDGER_URL
///     follower durable NAME      as a durable subscription, from DATABASE_URL
@main struct Follower {
    struct Misused: Error, CustomStringConvertible {
        let description: String
    }

    static func main() async {
        StandardStreams.prepare()
        do {
            let words = Array(CommandLine.arguments.dropFirst())
            switch (words.first, words.count) {
            case ("client", 1): try await followClient()
            case ("durable", 2): try await followDurably(name: words[1])
            default: throw Misused(description: "the arguments are: client, or: durable NAME")
            }
        } catch {
            StandardError.say("follower: \(error)")
            exit(1)
        }
    }

    private static func followClient() async throws {
        let environment = ProcessInfo.processInfo.environment
        guard let url = environment["JOBLEDGER_URL"] else { throw Misused(description: "JOBLEDGER_URL is not set") }
        let ledger = try LedgerClient(
            url: url, token: environment["JOBLEDGER_TOKEN"], retryTimeout: .seconds(600))
        let events = ledger.subscribe(jobs: nil).goingOn { try say($0) }
        for try await event in events { try say(event) }
    }

    private static func followDurably(name: String) async throws {
        let settings = try LedgerSettings()
        guard let url = settings.databaseURL else { throw Misused(description: "DATABASE_URL is not set") }
        let store = EventStore(url: url.revealed, ledger: settings.ledger, applicationName: "follower")
        let redis = try settings.redisURL.map { try RedisConfiguration(url: $0.revealed) }
        try await Feed.with(store: store, redis: redis, logger: Logger.standardError("follower")) { feed in
            while true {
                do {
                    try await take(name, from: feed)
                } catch let error as SubscriptionTaken {
                    // It could not acknowledge what the ledger has lost. What it did not
                    // acknowledge comes again.
                    StandardError.say("follower: \(error)")
                    try write(#"{"again":true}"#)
                }
            }
        }
    }

    private static func take(_ name: String, from feed: Feed) async throws {
        try await feed.withSubscription(named: name, onDivergence: .goOn { try say($0) }) { events in
            for try await event in events {
                try say(event)
                if event.position % 10 == 0 { try await events.acknowledge(event.position) }
            }
        }
    }

    private static func say(_ event: FeedEvent) throws {
        try write(#"{"position":\#(event.position),"id":"\#(event.id.text)"}"#)
    }

    private static func say(_ divergence: Divergence) throws { try write(divergence.json) }

    private static func write(_ line: String) throws { try StandardOutput.write(Array("\(line)\n".utf8)) }
}
