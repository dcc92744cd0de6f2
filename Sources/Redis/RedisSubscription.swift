package import BlockingIO
package import Texts

/// The messages of some channels, for as long as the consumer asks.
///
/// Redis keeps no message for a subscriber that is away, so that what a consumer must know is when
/// it was: every ``Item/joined`` says that messages before it may be missing. Consumers read the
/// state anew then.
///
/// Memory is bounded because messages are pulled: `next()` reads from the socket, about 256 KiB
/// beyond the message it returns, and nothing reads while the consumer is busy. Messages then wait
/// in the socket's buffers and in the server's `client-output-buffer-limit pubsub` (32 MB, or 8 MB
/// for a minute, by default); a consumer slower than that is disconnected by the server and sees
/// ``Item/lost(_:)`` and ``Item/joined``, never a silent gap.
///
/// Each iterator has a connection and a thread of its own and closes it when it is dropped.
package struct RedisSubscription: AsyncSequence, Sendable {
    package enum Item: Sendable, Equatable {
        /// A message; `pattern` tells which pattern it matched when that is why it came.
        case message(channel: ExactText, pattern: ExactText?, payload: [UInt8])
        /// All subscriptions are acknowledged: first, after every reconnection, and after topics
        /// were added. Messages, of these topics, may have been lost before.
        case joined
        /// The connection broke, or could not be made; the next call waits a little and tries
        /// again.
        case lost(RedisError)
    }

    let configuration: RedisConfiguration
    let topics: RedisTopics
    let silence: Duration
    let backoff: Backoff

    /// - Parameters:
    ///   - channels: names to subscribe to, as they are.
    ///   - patterns: glob-style patterns to subscribe to.
    ///   - silence: after this long without a byte the server is asked for a sign of life; without
    ///     one within the configuration's `replyTimeout` the connection counts as lost.
    ///   - backoff: between attempts to connect, which go on for ever.
    package init(
        _ configuration: RedisConfiguration, channels: [ExactText] = [], patterns: [ExactText] = [],
        silence: Duration = .seconds(15), backoff: Backoff = Backoff()
    ) throws(RedisError) {
        // The server acknowledges a name once for each mention; we count acknowledgements of
        // different ones.
        let names = RedisTopics.Names(channels: Set(channels), patterns: Set(patterns))
        guard !names.isEmpty else { throw RedisError(.configuration, "a subscription needs a channel or a pattern") }
        self.init(configuration, topics: RedisTopics(names), silence: silence, backoff: backoff)
    }

    /// - Parameter topics: what to listen to, now and whenever they are changed.
    package init(
        _ configuration: RedisConfiguration, topics: RedisTopics, silence: Duration = .seconds(15),
        backoff: Backoff = Backoff()
    ) {
        self.configuration = configuration
        self.topics = topics
        self.silence = silence
        self.backoff = backoff
    }

    /// Gives each item to `body`, on the thread that reads the connection, until the task is
    /// cancelled: an item is not handed from task to task, which costs more than it takes to deal
    /// with. Nothing is read meanwhile, so `body` must be quick, and never wait.
    package func each(_ body: @Sendable (Item) -> Void) async { await SubscriptionConnection(self).each(body) }

    package func makeAsyncIterator() -> Iterator { Iterator(connection: SubscriptionConnection(self)) }

    package struct Iterator: AsyncIteratorProtocol, Sendable {
        private let connection: SubscriptionConnection
        /// What was read ahead, the next item last.
        private var items: [Item] = []

        init(connection: SubscriptionConnection) { self.connection = connection }

        /// The next item; `nil` promptly when the task is cancelled, and only then.
        ///
        /// It runs where its caller does: an item that was read ahead costs no way to another
        /// thread and back.
        package mutating func next(isolation actor: isolated (any Actor)?) async -> Item? {
            if Task.isCancelled { return nil }
            if items.isEmpty { items = await connection.next().reversed() }
            return items.popLast()
        }
    }
}
