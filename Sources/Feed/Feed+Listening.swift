import BlockingIO
import EventStore
import Foundation
import LedgerCore
import Logging
import Redis

/// The half of a feed that hears what Redis brings, and passes it on within the process.
extension Feed {
    /// All of it runs on the thread of the connection.
    func listen(to redis: RedisConfiguration) async {
        await RedisSubscription(redis, topics: topics).each { item in
            switch item {
            case .message(let channel, _, let payload):
                hear(payload, on: channel)
            case .joined:
                let wasLost = state.withLock { state in
                    defer { (state.isJoined, state.isLost) = (true, false) }
                    // What was published before is not heard any more.
                    state.asking.isUrgent = true
                    let hearsPattern = !topics.names.patterns.isEmpty
                    if hearsPattern, !state.hearsPattern { state.asking.concernsPattern = true }
                    state.hearsPattern = hearsPattern
                    return state.isLost
                }
                if wasLost { logger.notice("Redis is back") }
                wake.yield()
            case .lost(let error):
                let wasLost = state.withLock { state in
                    defer { (state.isJoined, state.isLost, state.hearsPattern) = (false, true, false) }
                    state.hearing.cut()
                    return state.isLost
                }
                if !wasLost { logger.warning("Redis is away, asking Postgres", metadata: ["error": "\(error)"]) }
            }
        }
    }

    /// Nothing of a message is looked at before its code. What it says of a job stands in it, so it does not matter on which channel it comes: a message
    /// that is repeated there is one that comes twice.
    private func hear(_ payload: [UInt8], on channel: ExactText) {
        guard let code = state.withLock({ $0.asking.code }) else { return }
        guard let message = code.opened(payload) else { return reject(payload, "it is not the relay's") }
        if channel == store.ledger.headChannel {
            guard let beat = Beat(message) else { return reject(payload, "it is no head") }
            hear(beat)
        } else {
            do {
                hear(try FeedEvent(json: message), of: code.epoch)
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
            if let told = state.rejected.told, told.duration(to: .now) < .seconds(60) { return false }
            state.rejected.told = .now
            return true
        }
        guard isNews else { return }
        logger.warning(
            "a message on Redis was dropped; more of them are only counted, for a minute",
            metadata: ["reason": "\(reason)", "message": "\(String(decoding: payload.prefix(100), as: UTF8.self))"])
    }

    /// Each message is read once, whoever it goes to, and those whom it does not concern are not touched.
    private func hear(_ event: FeedEvent, of epoch: EventID) {
        let now = Int64(Date().timeIntervalSince1970 * 1e6)
        let heard: (everything: [Inbox], ofJob: [Inbox], follows: Position?)? = state.withLock { state in
            // The epoch may have changed since the code was looked at, and what was heard of the old one says nothing of this.
            guard state.asking.epoch == epoch else { return nil }
            state.lag.add(Double(now - event.recordedAt.microseconds) / 1e6)
            var follows: Position?
            if event.hasData { follows = state.hearing.hear(event.position) } else { state.hearing.hearOf(event.position) }
            return (state.audience.everything, state.audience.byJob[event.job] ?? [], follows)
        }
        guard let heard else { return }
        for inboxes in [heard.everything, heard.ofJob] {
            for inbox in inboxes {
                if let follows = heard.follows { inbox.hear(event, follows: follows, of: epoch) } else { inbox.tell(of: event) }
            }
        }
    }

    private func hear(_ beat: Beat) {
        let lacking = state.withLock { state -> [Inbox] in
            guard beat.epoch == state.asking.epoch else { return [] }
            let isMissing = state.hearing.beat(beat.position, at: .now)
            return isMissing ? state.audience.everything + state.audience.several : []
        }
        for inbox in lacking { inbox.tell(upTo: beat.position, shouldBeKnown: true) }
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
