import Glibc
import Synchronization
import Testing

@testable import BlockingIO

@Suite(.timeLimit(.minutes(10))) struct InterruptTests {
    /// A pipe: its reading end is readable once something was written, its writing end is writable
    /// until it is full.
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
    private let interrupt = Interrupt()

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

    @Test("a process without descriptors has bells all the same") func withoutPipe() async {
        let (pipe, interrupt) = (pipe, Interrupt(pipe: nil))
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: .milliseconds(50)) == .timedOut)
        #expect(interrupt.wait(for: .either, on: pipe.writing, within: nil) == .ready)
        interrupt.ring()
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: nil) == .interrupted)
        interrupt.ring()
        interrupt.clear()
        #expect(interrupt.wait(for: .readable, on: pipe.reading, within: .milliseconds(1)) == .timedOut)
        async let outcome = blocking { interrupt.wait(for: .readable, on: pipe.reading, within: nil) }
        interrupt.ring()
        #expect(await outcome == .interrupted)
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
        // The bell comes first: who is cancelled need not look at the data.
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

    /// Many bells, and no wait that misses its own.
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
