import BlockingIO
import EventStore
import Foundation
import LedgerCore
import Logging
import Redis

/// The half of a feed that receives messages from Redis and passes them on within the process.
extension Feed {
    /// Listens until the task is cancelled. All of it runs on the connection's thread.
    func listen(to redis: RedisConfiguration) async {
        await RedisSubscription(redis, topics: topics).each { item in
            switch item {
            case .message(let channel, _, let payload):
                receive(payload, on: channel)
            case .joined:
                let wasLost = state.withLock { state in
                    defer { (state.isJoined, state.isLost) = (true, false) }
                    // Messages that were published before this moment will not arrive.
                    state.polling.isUrgent = true
                    let receivesPattern = !topics.names.patterns.isEmpty
                    if receivesPattern, !state.receivesPattern { state.polling.concernsPattern = true }
                    state.receivesPattern = receivesPattern
                    return state.isLost
                }
                if wasLost { logger.notice("Redis is reachable again") }
                wake.yield()
            case .lost(let error):
                let wasLost = state.withLock { state in
                    defer { (state.isJoined, state.isLost, state.receivesPattern) = (false, true, false) }
                    state.receivedSpan.cut()
                    return state.isLost
                }
                if !wasLost {
                    logger.warning("Redis is unreachable; polling Postgres", metadata: ["error": "\(error)"])
                }
            }
        }
    }

    /// Verifies the code of a message before it reads anything else. The message itself names its
    /// stream, so the channel does not matter: a message that somebody repeats on another channel
    /// is a repeat like any other.
    private func receive(_ payload: [UInt8], on channel: ExactText) {
        guard let code = state.withLock({ $0.polling.code }) else { return }
        guard let message = code.verified(payload) else { return reject(payload, "its code is not the relay's") }
        if channel == store.ledger.headChannel {
            guard let beat = Beat(message) else { return reject(payload, "it is not a beat of the head") }
            receive(beat)
        } else {
            do {
                receive(try FeedEvent(json: message), of: code.epoch)
            } catch {
                // If it stands for an event, the subscription will find that event missing.
                reject(payload, "it is not an event: \(error)")
            }
        }
    }

    /// Counts the message and logs at most one a minute: a flood on Redis must not flood the log.
    private func reject(_ payload: [UInt8], _ reason: String) {
        let isNews = state.withLock { state in
            state.rejected.count += 1
            if let last = state.rejected.lastLogged, last.duration(to: .now) < .seconds(60) { return false }
            state.rejected.lastLogged = .now
            return true
        }
        guard isNews else { return }
        logger.warning(
            "dropped a message from Redis; for the next minute, further ones are only counted",
            metadata: ["reason": "\(reason)", "message": "\(String(decoding: payload.prefix(100), as: UTF8.self))"])
    }

    /// Decodes each message once, however many subscriptions want it, and touches only those it
    /// concerns.
    private func receive(_ event: FeedEvent, of epoch: EventID) {
        let now = Int64(Date().timeIntervalSince1970 * 1e6)
        let received: (everything: [SubscriptionBuffer], ofStream: [SubscriptionBuffer], follows: Position?)? =
            state.withLock {
                state in
                // The epoch may have changed since the code was verified. An event of the old epoch
                // says nothing about the new one.
                guard state.polling.epoch == epoch else { return nil }
                state.lag.add(Double(now - event.recordedAt.microseconds) / 1e6)
                var follows: Position?
                if event.hasData {
                    follows = state.receivedSpan.receive(event.position)
                } else {
                    state.receivedSpan.receiveNotice(event.position)
                }
                let ofStream = state.subscribers.byStream[StreamKey(event.category, event.job)] ?? []
                return (state.subscribers.everything, ofStream, follows)
            }
        guard let received else { return }
        for buffers in [received.everything, received.ofStream] {
            for buffer in buffers {
                if let follows = received.follows {
                    buffer.receive(event, follows: follows, of: epoch)
                } else {
                    buffer.announce(of: event)
                }
            }
        }
    }

    private func receive(_ beat: Beat) {
        let lacking = state.withLock { state -> [SubscriptionBuffer] in
            guard beat.epoch == state.polling.epoch else { return [] }
            let isMissing = state.receivedSpan.beat(beat.position, at: .now)
            return isMissing ? state.subscribers.everything + state.subscribers.several : []
        }
        for buffer in lacking { buffer.announce(upTo: beat.position, shouldBeKnown: true) }
    }

    /// The relay's announcement of the head.
    private struct Beat {
        var position: Position
        var epoch: EventID

        init?(_ payload: [UInt8]) {
            guard let members = try? JSONText.members(of: payload) else { return nil }
            func text(_ name: ExactText) -> String? {
                members.first { $0.name == name }.flatMap { JSONText.string(from: $0.value) }
            }
            guard let position = text("position").flatMap({ Position(position: $0) }),
                let epoch = text("epoch").flatMap({ EventID(text: $0) })
            else { return nil }
            (self.position, self.epoch) = (position, epoch)
        }
    }
}
