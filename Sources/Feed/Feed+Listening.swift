import BlockingIO
import EventStore
import Foundation
import LedgerCore
import Logging
import Redis

/// The half of a feed that receives what Redis brings, and passes it on within the process.
extension Feed {
    /// All of it runs on the thread of the connection.
    func listen(to redis: RedisConfiguration) async {
        await RedisSubscription(redis, topics: topics).each { item in
            switch item {
            case .message(let channel, _, let payload):
                receive(payload, on: channel)
            case .joined:
                let wasLost = state.withLock { state in
                    defer { (state.isJoined, state.isLost) = (true, false) }
                    // What was published before is not received any more.
                    state.polling.isUrgent = true
                    let receivesPattern = !topics.names.patterns.isEmpty
                    if receivesPattern, !state.receivesPattern { state.polling.concernsPattern = true }
                    state.receivesPattern = receivesPattern
                    return state.isLost
                }
                if wasLost { logger.notice("Redis is back") }
                wake.yield()
            case .lost(let error):
                let wasLost = state.withLock { state in
                    defer { (state.isJoined, state.isLost, state.receivesPattern) = (false, true, false) }
                    state.receivedSpan.cut()
                    return state.isLost
                }
                if !wasLost { logger.warning("Redis is away, asking Postgres", metadata: ["error": "\(error)"]) }
            }
        }
    }

    /// Nothing of a message is looked at before its code. What it says of a job stands in it, so it
    /// does not matter on which channel it comes: a message that is repeated there is one that
    /// comes twice.
    private func receive(_ payload: [UInt8], on channel: ExactText) {
        guard let code = state.withLock({ $0.polling.code }) else { return }
        guard let message = code.verified(payload) else { return reject(payload, "it is not the relay's") }
        if channel == store.ledger.headChannel {
            guard let beat = Beat(message) else { return reject(payload, "it is no head") }
            receive(beat)
        } else {
            do {
                receive(try FeedEvent(json: message), of: code.epoch)
            } catch {
                // If it stands for an event, that one will be found missing.
                reject(payload, "it is no event: \(error)")
            }
        }
    }

    /// Counts it, and says so once a minute: whoever floods Redis shall not flood a log.
    private func reject(_ payload: [UInt8], _ reason: String) {
        let isNews = state.withLock { state in
            state.rejected.count += 1
            if let last = state.rejected.lastLogged, last.duration(to: .now) < .seconds(60) { return false }
            state.rejected.lastLogged = .now
            return true
        }
        guard isNews else { return }
        logger.warning(
            "a message on Redis was dropped; more of them are only counted, for a minute",
            metadata: ["reason": "\(reason)", "message": "\(String(decoding: payload.prefix(100), as: UTF8.self))"])
    }

    /// Each message is read once, whoever it goes to, and those whom it does not concern are not
    /// touched.
    private func receive(_ event: FeedEvent, of epoch: EventID) {
        let now = Int64(Date().timeIntervalSince1970 * 1e6)
        let received: (everything: [SubscriptionBuffer], ofJob: [SubscriptionBuffer], follows: Position?)? =
            state.withLock {
                state in
                // The epoch may have changed since the code was looked at, and what was received of the
                // old one says nothing of this.
                guard state.polling.epoch == epoch else { return nil }
                state.lag.add(Double(now - event.recordedAt.microseconds) / 1e6)
                var follows: Position?
                if event.hasData {
                    follows = state.receivedSpan.receive(event.position)
                } else {
                    state.receivedSpan.receiveNotice(event.position)
                }
                return (state.subscribers.everything, state.subscribers.byJob[event.job] ?? [], follows)
            }
        guard let received else { return }
        for buffers in [received.everything, received.ofJob] {
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

    /// What the relay tells of the head.
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
