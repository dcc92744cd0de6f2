package import BlockingIO
package import Texts

/// The messages of some channels, for as long as the consumer reads them.
///
/// Redis keeps no messages for a subscriber that is away. So every ``Item/joined`` means that
/// earlier messages may be missing, and the consumer then reads the state anew.
///
/// Memory is bounded because messages are pulled. `next()` reads from the socket, about 256 KiB
/// beyond the message it returns, and nothing is read while the consumer is busy. Messages then
/// wait in the socket's buffers and in the server's `client-output-buffer-limit pubsub` (32 MB, or
/// 8 MB for a minute, by default). The server disconnects a slower consumer, which sees
/// ``Item/lost(_:)`` and ``Item/joined``, never a silent gap.
///
/// Each iterator has its own connection and thread, and closes the connection when it is dropped.
package struct RedisSubscription: AsyncSequence, Sendable {
    package enum Item: Sendable, Equatable {
        /// A message; `pattern` is the pattern that it matched, if it came through one.
        case message(channel: ExactText, pattern: ExactText?, payload: [UInt8])
        /// All subscriptions are acknowledged: at the start, after every reconnection, and after
        /// topics were added. Earlier messages of these topics may have been lost.
        case joined
        /// The connection broke or could not be made. The next call pauses and tries again.
        case lost(RedisError)
    }

    let configuration: RedisConfiguration
    let topics: RedisTopics
    let silence: Duration
    let backoff: Backoff

    /// - Parameters:
    ///   - channels: names to subscribe to.
    ///   - patterns: glob-style patterns to subscribe to.
    ///   - silence: after this time without a byte the server is sent a PING. Without a reply
    ///     within the configuration's `replyTimeout` the connection counts as lost.
    ///   - backoff: between attempts to connect, which go on for ever.
    package init(
        _ configuration: RedisConfiguration, channels: [ExactText] = [], patterns: [ExactText] = [],
        silence: Duration = .seconds(15), backoff: Backoff = Backoff()
    ) throws(RedisError) {
        // The server acknowledges a name once for each mention, and we count the acknowledgements
        // of different names.
        let names = RedisTopics.Names(channels: Set(channels), patterns: Set(patterns))
        guard !names.isEmpty else { throw RedisError(.configuration, "a subscription needs a channel or a pattern") }
        self.init(configuration, topics: RedisTopics(names), silence: silence, backoff: backoff)
    }

    /// - Parameter topics: the channels and patterns, which may change later.
    package init(
        _ configuration: RedisConfiguration, topics: RedisTopics, silence: Duration = .seconds(15),
        backoff: Backoff = Backoff()
    ) {
        self.configuration = configuration
        self.topics = topics
        self.silence = silence
        self.backoff = backoff
    }

    /// Passes each item to `body`, on the thread that reads the connection, until the task is
    /// cancelled. Passing an item from task to task would cost more than handling it. Nothing is
    /// read meanwhile, so `body` must be quick and must not wait.
    package func each(_ body: @Sendable (Item) -> Void) async { await SubscriptionConnection(self).each(body) }

    package func makeAsyncIterator() -> Iterator { Iterator(connection: SubscriptionConnection(self)) }

    package struct Iterator: AsyncIteratorProtocol, Sendable {
        private let connection: SubscriptionConnection
        /// Items that were read ahead, the next item last.
        private var items: [Item] = []

        init(connection: SubscriptionConnection) { self.connection = connection }

        /// The next item; `nil` at once when the task is cancelled, and only then.
        ///
        /// It runs on its caller's executor, so that an item that was read ahead costs no switch to
        /// another thread and back.
        package mutating func next(isolation actor: isolated (any Actor)?) async -> Item? {
            if Task.isCancelled { return nil }
            if items.isEmpty { items = await connection.next().reversed() }
            return items.popLast()
        }
    }
}
