import Glibc
import Synchronization

/// Wakes a thread that blocks in ``wait(for:on:within:)``. A cancelled task ends a blocking call
/// this way.
///
/// It is a pipe to ourselves: the waiting thread polls one end together with the descriptor it
/// waits for, and ``ring()`` writes a byte into the other end. Each connection has one. Any thread
/// may call ``ring()`` at any time, even after the waiter has gone: the pipe is closed only when
/// the last reference is dropped.
package final class Interrupt: Sendable {
    package enum Readiness: Sendable { case readable, writable, either }
    package enum Outcome: Sendable, Equatable { case ready, interrupted, timedOut }

    /// There is no descriptor left for the pipe, in the process or in the whole system.
    package struct NoDescriptor: Error, Sendable, Equatable, CustomStringConvertible {
        /// The `errno` of pipe(2): `EMFILE` or `ENFILE`.
        package let code: Int32

        package var description: String { "no pipe can be made: \(String(cString: strerror(code)))" }
    }

    private let readEnd: Int32
    private let writeEnd: Int32

    /// The wait before poll(2) is tried again when the kernel is short of memory, in microseconds.
    private static let retryPause: UInt32 = 20_000

    package init() throws(NoDescriptor) {
        var ends: [Int32] = [-1, -1]
        guard pipe(&ends) == 0 else { throw NoDescriptor(code: errno) }
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        (readEnd, writeEnd) = (ends[0], ends[1])
    }

    deinit {
        close(readEnd)
        close(writeEnd)
    }

    /// Wakes the waiter, or the next one if nobody waits now.
    package func ring() {
        // The only possible failure is a full pipe, and a full pipe wakes the waiter anyway.
        _ = write(writeEnd, [1], 1)
    }

    /// Forgets the rings so far, because what they were for is over.
    package func clear() {
        var rings = [UInt8](repeating: 0, count: 64)
        while read(readEnd, &rings, rings.count) == rings.count {}
    }

    /// Blocks until `descriptor` is ready, somebody rings, or `limit` has passed.
    /// - Parameters:
    ///   - descriptor: what to wait for; with -1, only a ring or the limit ends the wait.
    ///   - limit: `nil` waits without a limit, so use it only where a ring will come.
    package func wait(for readiness: Readiness, on descriptor: Int32, within limit: Duration?) -> Outcome {
        let deadline = limit.map { ContinuousClock.now.advanced(by: $0) }
        var events: Int32 = 0
        if readiness != .writable { events |= POLLIN }
        if readiness != .readable { events |= POLLOUT }
        while true {
            var descriptors = [
                pollfd(fd: descriptor, events: Int16(events), revents: 0),
                pollfd(fd: readEnd, events: Int16(POLLIN), revents: 0),
            ]
            let count = poll(&descriptors, 2, Self.milliseconds(until: deadline))
            // A signal interrupts poll(2). It also fails while the kernel is short of memory, and
            // where the process may have fewer than two descriptors. All of this may pass.
            if count < 0, errno != EINTR { usleep(Self.retryPause) }
            if count > 0 {
                if descriptors[1].revents != 0 {
                    clear()
                    return .interrupted
                }
                if descriptors[0].revents != 0 { return .ready }
            }
            if let deadline, ContinuousClock.now >= deadline { return .timedOut }
        }
    }

    /// The time left, rounded up; -1, which poll(2) takes for no limit, where there is no deadline.
    private static func milliseconds(until deadline: ContinuousClock.Instant?) -> Int32 {
        guard let deadline else { return -1 }
        // poll(2) counts in an Int32. A longer wait takes several rounds.
        let left = ContinuousClock.now.duration(to: deadline) / .milliseconds(1)
        return Int32(min(max(0, left.rounded(.up)), Double(Int32.max)))
    }
}

/// Whether one call on a connection was cancelled.
///
/// All calls on a connection share its ``Interrupt``, so a ring does not say which call it is for.
/// This does.
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
