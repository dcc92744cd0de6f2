import BlockingIO
import EventStore
import Hummingbird
import NIOCore
import Postgres

/// An event stream without events, for a client that comes while the database is away: it gets
/// comments until the database answers.
struct WaitingStream: Sendable {
    let streams: OpenStreams
    let store: EventStore
    let heartbeat: Duration
    let token: AccessToken?

    func run(until closed: EventLoopFuture<Void>, _ writer: inout any ResponseBodyWriter) async throws {
        try await streams.run(token, until: closed) {
            try await waitForLedger($0)
        } write: { slot in
            try await writer.write(EventStream.beginning)
            var lastWrite = ContinuousClock.now
            while true {
                switch await slot.next() {
                case .tick where lastWrite.duration(to: .now) >= heartbeat:
                    try await writer.write(EventStream.beat)
                    lastWrite = .now
                case .stopped: return try await writer.write(EventStream.stopping)
                case .ended, .closed, .failed: return
                case .tick, .alarm, .news: continue
                }
            }
        }
        try await writer.finish(nil)
    }

    private func waitForLedger(_ slot: StreamSlot) async throws {
        var backoff = Backoff()
        while true {
            do {
                _ = try await store.head()
                return slot.end(.ended)
            } catch let error as PostgresError where error.isOutage {
                try await backoff.pause()
            } catch {
                // The client's next request gets the reason.
                return slot.end(.failed(error))
            }
        }
    }
}
