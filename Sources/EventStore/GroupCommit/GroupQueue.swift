import LedgerCore

/// The requests that wait for one lane, in order of arrival. A plain value: no lock, no clock, no
/// network.
///
/// The first of them are *accepted*: they are within the bound, and are finished even if the lane
/// stops. The others are *waiting*, and are accepted, in order, as accepted ones leave.
struct GroupQueue {
    struct Entry: Sendable {
        /// Grows with each request, so tickets also give the order.
        let ticket: UInt64
        let request: AppendRequest
        /// In bytes, as ``AppendRequest/size``.
        let size: Int
        /// Until when to retry while the server is away.
        let deadline: ContinuousClock.Instant
        /// Whether it is sent in its own call, because it may have made the server fail a whole
        /// group.
        var isAlone = false
    }

    struct Bound: Sendable {
        var requests: Int
        var bytes: Int
    }

    private let bound: Bound
    private var entries: [Entry] = []
    private(set) var accepted = 0
    private(set) var acceptedBytes = 0

    init(bound: Bound) { self.bound = bound }

    var isEmpty: Bool { entries.isEmpty }
    var waiting: Int { entries.count - accepted }

    mutating func enter(_ entry: Entry) {
        entries.append(entry)
        admit()
    }

    /// The next requests to send together: at least one if any waits, then as many as fit.
    mutating func takeGroup(mostEvents: Int, mostBytes: Int) -> [Entry] {
        var (events, bytes) = (0, 0)
        let isAlone = entries.first?.isAlone ?? false
        let group = entries.prefix(accepted).prefix { entry in
            let isFirst = events == 0
            events += entry.request.events.count
            bytes += entry.size
            return isFirst || !isAlone && !entry.isAlone && events <= mostEvents && bytes <= mostBytes
        }
        leave(group)
        entries.removeFirst(group.count)
        admit()
        return Array(group)
    }

    /// Puts a group that was not written back at the front.
    mutating func putBack(_ group: [Entry]) {
        accepted += group.count
        acceptedBytes += group.reduce(0) { $0 + $1.size }
        entries.append(contentsOf: group)
        entries.sort { $0.ticket < $1.ticket }
    }

    /// Removes a request. Returns whether it was still in the queue.
    mutating func remove(_ ticket: UInt64) -> Bool {
        // Tickets ascend, so a binary search finds the request if it is here.
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].ticket < ticket { low = middle + 1 } else { high = middle }
        }
        guard low < entries.count, entries[low].ticket == ticket else { return false }
        if low < accepted { leave(entries[low...low]) }
        entries.remove(at: low)
        admit()
        return true
    }

    /// Removes the requests whose deadline has passed, and returns their tickets.
    mutating func removeExpired(at now: ContinuousClock.Instant) -> [UInt64] {
        let expired = entries.filter { $0.deadline <= now }.map(\.ticket)
        for ticket in expired { _ = remove(ticket) }
        return expired
    }

    /// Removes the requests that are not accepted yet, and returns their tickets.
    mutating func removeWaiting() -> [UInt64] {
        let tickets = entries[accepted...].map(\.ticket)
        entries.removeSubrange(accepted...)
        return tickets
    }

    mutating func removeAll() -> [UInt64] {
        defer { self = GroupQueue(bound: bound) }
        return entries.map(\.ticket)
    }

    private mutating func leave(_ leaving: ArraySlice<Entry>) {
        accepted -= leaving.count
        acceptedBytes -= leaving.reduce(0) { $0 + $1.size }
    }

    /// A lone request is accepted whatever its size; otherwise it would wait for ever.
    private mutating func admit() {
        while accepted < entries.count, accepted < bound.requests,
            accepted == 0 || acceptedBytes + entries[accepted].size <= bound.bytes
        {
            acceptedBytes += entries[accepted].size
            accepted += 1
        }
    }
}
