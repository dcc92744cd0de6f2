import BlockingIO
import Glibc
import Synchronization
import Testing

@Suite(.timeLimit(.minutes(10))) struct InterruptTests {
    /// A pipe. Its reading end becomes readable when something is written; its writing end stays
    /// writable until the pipe is full.
    private final class Pipe: Sendable {
        let reading: Int32
        let writing: Int32

        init() {
            var ends: [Int32] = [-1, -1]
            precondition(Glibc.pipe(&ends) == 0)
            (reading, writing) = (ends[0], ends[1])
        }

        func write() { _ = Glibc.write(writing, [UInt8(1)], 1) }

        deinit {
            close(reading)
            close(writing)
        }
    }

    private let pipe = Pipe()
    private let interrupt: Interrupt

    init() throws { interrupt = try Interrupt() }

    /// Runs `body` on a thread of its own, where it may block.
    private func blocking<T: Sendable>(_ body: @escaping @Sendable () -> T) async -> T {
        let executor = BlockingExecutor(label: "test")
        return await Blocking(executor: executor).run(body)
    }

    private actor Blocking {
        let executor: BlockingExecutor
        nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
        init(executor: BlockingExecutor) { self.executor = executor }
        func run<T: Sendable>(_ body: @Sendable () -> T) -> T { body() }
    }

    @Test func readiness() async {
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: .zero) == .timedOut)
        #expect(interrupt.wait(for: .writable, on: pipe.writing, within: .zero) == .ready)
        #expect(interrupt.wait(for: .either, on: pipe.writing, within: nil) == .ready)
        pipe.write()
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: nil) == .ready)
        #expect(interrupt.wait(for: .either, on: pipe.reading, within: .seconds(1 << 60)) == .ready)
    }

    @Test func aRingBeforeTheWaitEndsItOnce() {
        interrupt.ring()
        interrupt.ring()
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: nil) == .interrupted)
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: .milliseconds(1)) == .timedOut)
    }

    /// In a process of its own, since the limit holds for all that runs in it.
    @Test func runningOutOfDescriptorsIsAnError() async {
        await #expect(processExitsWith: .success) {
            let interrupt = try Interrupt()
            var limit = rlimit()
            #expect(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            var before = limit
            limit.rlim_cur = 0
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            let error = #expect(throws: Interrupt.NoDescriptor.self) { try Interrupt() }
            #expect(error?.code == EMFILE)
            // poll(2) refuses more descriptors than the process may have: the wait still ends.
            #expect(interrupt.wait(for: .readable, on: -1, within: .milliseconds(30)) == .timedOut)
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before) == 0)
            interrupt.ring()
            #expect(interrupt.wait(for: .readable, on: -1, within: nil) == .interrupted)
            _ = try Interrupt()
        }
    }

    @Test func aRingDuringTheWaitEndsIt() async {
        let (pipe, interrupt) = (pipe, interrupt)
        async let outcome = blocking { interrupt.wait(for: .readable, on: pipe.reading, within: nil) }
        interrupt.ring()
        #expect(await outcome == .interrupted)
    }

    @Test func aRingAfterTheWaitIsForTheNextOneUnlessCleared() {
        pipe.write()
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: nil) == .ready)
        interrupt.ring()
        // A ring comes first: a cancelled call need not look at the data.
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: nil) == .interrupted)
        interrupt.ring()
        interrupt.clear()
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: nil) == .ready)
    }

    @Test func moreRingsThanThePipeHoldsDoNotBlock() {
        for _ in 0..<200_000 { interrupt.ring() }
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: nil) == .interrupted)
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: .zero) == .timedOut)
    }

    @Test func aTimeOutIsNeverEarly() {
        for microseconds in [0, 1, 900, 1_500, 20_300] {
            let start = ContinuousClock.now
            let limit = Duration.microseconds(microseconds)
            #expect(interrupt.wait(for: .readable, on: pipe.reading, within: limit) == .timedOut)
            #expect(start.duration(to: .now) >= limit)
        }
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: .seconds(-5)) == .timedOut)
    }

    /// No wait misses the ring for it, whichever of the two comes first.
    @Test func aRaceOfRingsAndWaits() async {
        let (pipe, interrupt) = (pipe, interrupt)
        for _ in 0..<300 {
            let cancellation = Cancellation(ringing: interrupt)
            async let waiting: Void = blocking {
                while !cancellation.isCancelled { _ = interrupt.wait(for: .readable, on: pipe.reading, within: nil) }
            }
            cancellation.cancel()
            await waiting
        }
    }
}
