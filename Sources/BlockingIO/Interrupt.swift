import Glibc
import Synchronization

/// A bell that wakes a thread blocked in ``wait(for:on:within:)``: how a cancelled task reaches a
/// blocking call.
///
/// One belongs to each connection. ``ring()`` may be called from any thread at any time, also after
/// the waiter has gone: the descriptor is closed only when the last reference is dropped.
package final class Interrupt: Sendable {
    package enum Readiness: Sendable { case readable, writable, either }
    package enum Outcome: Sendable, Equatable { case ready, interrupted, timedOut }

    /// A pipe to ourselves: what is written to one end wakes whoever polls the other. Both are -1,
    /// which poll(2) and write(2) pass over, where the process has no descriptors left: then the
    /// waiter looks every ``glance`` whether it was rung.
    private let bell: Int32
    private let rope: Int32
    private let isRung = Atomic<Bool>(false)

    /// How long a ring without a pipe may go unheard.
    private static let glance = Duration.milliseconds(20)

    package convenience init() { self.init(pipe: Self.pipe()) }

    init(pipe ends: (bell: Int32, rope: Int32)?) { (bell, rope) = ends ?? (-1, -1) }

    /// `nil` where there are no descriptors for one. What needs more than a bell, such as a
    /// connection, then fails with an error of its own.
    private static func pipe() -> (bell: Int32, rope: Int32)? {
        var ends: [Int32] = [-1, -1]
        guard Glibc.pipe(&ends) == 0 else { return nil }
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        return (ends[0], ends[1])
    }

    deinit {
        guard bell >= 0 else { return }
        close(bell)
        close(rope)
    }

    /// Wakes the waiter, or the next one if nobody waits now.
    package func ring() {
        guard rope >= 0 else { return isRung.store(true, ordering: .releasing) }
        // The only failure is a full pipe, and then the bell is ringing already.
        _ = write(rope, [1], 1)
    }

    /// Silences a bell that was rung for something that is over.
    package func clear() {
        guard bell >= 0 else { return isRung.store(false, ordering: .releasing) }
        var rings = [UInt8](repeating: 0, count: 64)
        while read(bell, &rings, rings.count) == rings.count {}
    }

    /// Blocks until `descriptor` is ready, the bell rings, or `limit` has passed.
    /// - Parameter limit: `nil` waits without a limit: only for waits that end by the bell.
    package func wait(for readiness: Readiness, on descriptor: Int32, within limit: Duration?) -> Outcome {
        let deadline = limit.map { ContinuousClock.now.advanced(by: $0) }
        var events: Int32 = 0
        if readiness != .writable { events |= POLLIN }
        if readiness != .readable { events |= POLLOUT }
        while true {
            var descriptors = [
                pollfd(fd: descriptor, events: Int16(events), revents: 0),
                pollfd(fd: bell, events: Int16(POLLIN), revents: 0),
            ]
            var milliseconds: Int32 = -1
            if let deadline {
                // poll(2) counts in an Int32; a longer wait goes round again.
                let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
                milliseconds = Int32(min(max(0, left.rounded(.up)), Double(Int32.max)))
            }
            if bell < 0 {
                if isRung.exchange(false, ordering: .acquiring) { return .interrupted }
                let glance = Int32(Self.glance / .milliseconds(1))
                milliseconds = milliseconds < 0 ? glance : min(milliseconds, glance)
            }
            let count = poll(&descriptors, 2, milliseconds)
            if count < 0 {
                // EINTR, and a kernel that is short of memory, are the errors that are not a
                // mistake in this file.
                precondition([EINTR, ENOMEM, EAGAIN].contains(errno), "poll: \(String(cString: strerror(errno)))")
                if errno != EINTR { usleep(UInt32(Self.glance / .microseconds(1))) }
                continue
            }
            if descriptors[1].revents != 0 {
                clear()
                return .interrupted
            }
            if descriptors[0].revents != 0 { return .ready }
            if let deadline, ContinuousClock.now >= deadline { return .timedOut }
        }
    }
}

/// Whether one call on a connection was cancelled. The bell only wakes; this says for whom it rang.
package final class Cancellation: Sendable {
    private let raised = Atomic<Bool>(false)
    private let interrupt: Interrupt

    package init(ringing interrupt: Interrupt) { self.interrupt = interrupt }

    package var isCancelled: Bool { raised.load(ordering: .acquiring) }

    package func cancel() {
        raised.store(true, ordering: .releasing)
        interrupt.ring()
    }
}
