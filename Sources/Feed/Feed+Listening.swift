import EventStore
import Foundation
import LedgerCore
import Logging
import OffPool
import Redis

/// The half of a feed that hears what Redis brings, and passes it on within the process.
extension Feed {
    /// All of it runs on the thread of the connection.
    func listen(to redis: RedisConfiguration) async {
        await RedisSubscription(redis, topics: topics).each { item in
            switch item {
            case .message(let channel, _, let payload):
                if channel == store.ledger.headChannel { hear(beat: payload) } else { hear(event: payload) }
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

    /// Each message is read once, whoever it goes to, and those whom it does not concern are not touched.
    private func hear(event payload: [UInt8]) {
        let event: FeedEvent
        do {
            event = try FeedEvent(json: payload)
        } catch {
            // If it stands for an event, that one will be found missing.
            logger.warning("a message that is no event", metadata: ["error": "\(error)"])
            return
        }
        let now = Int64(Date().timeIntervalSince1970 * 1e6)
        let (everything, ofJob, follows) = state.withLock { state in
            state.lag.add(Double(now - event.recordedAt.microseconds) / 1e6)
            var follows: Position?
            if event.hasData { follows = state.hearing.hear(event.position) } else { state.hearing.hearOf(event.position) }
            return (state.audience.everything, state.audience.byJob[event.job] ?? [], follows)
        }
        for inboxes in [everything, ofJob] {
            for inbox in inboxes {
                if let follows { inbox.hear(event, follows: follows) } else { inbox.tell(of: event) }
            }
        }
    }

    private func hear(beat payload: [UInt8]) {
        guard let beat = Beat(payload) else {
            logger.warning(
                "a head that is none", metadata: ["message": "\(String(decoding: payload.prefix(100), as: UTF8.self))"])
            return
        }
        let lacking = state.withLock { state -> [Inbox] in
            // Of another epoch than Postgres says: it will be asked soon, for nobody tells us anything then.
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
            func text(_ name: String) -> String? { members.first { $0.name == name }.flatMap { JSONText.string(from: $0.value) } }
            guard let position = text("position").flatMap({ Position(position: $0) }),
                let epoch = text("epoch").flatMap({ EventID(text: $0) })
            else { return nil }
            (self.position, self.epoch) = (position, epoch)
        }
    }
}
