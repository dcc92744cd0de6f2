import BlockingIO
import Foundation
import Glibc
import Redis
import Testing
import Texts

/// A process that has run out of file descriptors gets errors, and connects once there are
/// descriptors again. In a process of its own, since the limit holds for all that runs in it.
@Suite(.timeLimit(.minutes(10))) struct DescriptorTests {
    @Test func everyConnectionFailsWithAnError() async {
        await #expect(processExitsWith: .success) {
            // Nobody listens there: with descriptors, the server refuses the connection.
            let place = try RedisConfiguration(url: "redis://127.0.0.1:1")
            try await makeTimers()
            var limit = rlimit()
            #expect(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            var before = limit
            limit.rlim_cur = 0
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)

            let exhausted = RedisError(.connection, "no pipe can be made: \(String(cString: strerror(EMFILE)))")
            await #expect(throws: exhausted) { try await RedisConnection.connect(place) }
            let backoff = Backoff(first: .milliseconds(1), longest: .milliseconds(1))
            let client = RedisClient(place, backoff: backoff)
            await #expect(throws: exhausted) { try await client.ping() }
            var items = try RedisSubscription(place, channels: ["c"], backoff: backoff).makeAsyncIterator()
            for _ in 0..<3 { #expect(await items.next() == .lost(exhausted)) }

            #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &before) == 0)
            try await Task.sleep(for: .milliseconds(2))
            let refused = await #expect(throws: RedisError.self) { try await client.ping() }
            #expect(refused?.kind == .connection && refused?.message.contains("refused") == true)
            guard case .lost(let lost)? = await items.next() else {
                Issue.record("the subscription is not lost")
                return
            }
            #expect(lost.message.contains("refused"))
        }
    }
}

/// Makes the descriptors that Dispatch needs for timers, one for each of the two clocks: without
/// them, a first timer crashes.
///
/// A sleep that is over before it is armed, as on a busy machine, makes none.
private func makeTimers() async throws {
    var pause = Duration.milliseconds(1)
    while try timers() < 2 {
        try await ContinuousClock().sleep(for: pause)
        try await SuspendingClock().sleep(for: pause)
        pause *= 2
    }
}

private func timers() throws -> Int {
    let descriptors = "/proc/self/fd"
    return try FileManager.default.contentsOfDirectory(atPath: descriptors).count {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "\(descriptors)/\($0)")) == "anon_inode:[timerfd]"
    }
}
