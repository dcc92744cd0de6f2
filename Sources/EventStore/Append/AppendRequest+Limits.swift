import Glibc
import LedgerCore

/// Requests far beyond every limit of the ledger are refused here, without sending them.
extension AppendRequest {
    /// The most bytes of one request.
    private static let largest = 64 << 20

    /// About the bytes that go to the server.
    var size: Int { events.reduce(job.utf8.count) { $0 + $1.data.utf8.count + $1.metadata.utf8.count + 100 } }

    var refusalBySize: Refusal? {
        if events.isEmpty { return Refusal(.invalidEvent, "a request without events: send at least one") }
        let mostEvents = AppendLimits.eventsInRequest
        if events.count > mostEvents {
            return Refusal(
                .tooLarge,
                "\(events.count) events in one request, and the limit is \(mostEvents): send them in several")
        }
        let size = size
        return size > Self.largest
            ? Refusal(
                .tooLarge, "\(size) bytes in one request, and the limit is \(Self.largest): send fewer events at a time"
            )
            : nil
    }

    /// Postgres cannot store U+0000 in a text.
    var refusalByText: Refusal? {
        let isBroken =
            job.text.holdsNull || events.contains { $0.type.holdsNull || $0.data.holdsNull || $0.metadata.holdsNull }
        return isBroken ? Refusal(.invalidEvent, "U+0000 cannot be stored in any text: remove it") : nil
    }
}

extension String {
    fileprivate var holdsNull: Bool {
        // The bytes are valid within the closure. `memchr` is fast, which matters because every
        // event's data passes through here.
        utf8.withContiguousStorageIfAvailable { bytes in
            bytes.baseAddress.map { memchr($0, 0, bytes.count) != nil } ?? false
        }
            ?? utf8.contains(0)
    }
}
