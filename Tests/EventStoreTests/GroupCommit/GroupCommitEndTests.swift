import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// How a group commit ends, and what callers get when the server ends.
@Suite(.timeLimit(.minutes(15))) struct GroupCommitEndTests {
    @Test func aStopFinishesWhatWasAccepted() async throws {
        try await TestLedger.with { ledger async throws in
            var settings = GroupCommit.Settings.patient
            settings.mostRequests = 2
            settings.grace = .seconds(60)
            let commits = GroupCommit(ledger.store, settings)
            async let running: Void = commits.run()
            let holder = try await ledger.holdLog()
            let accepted = [
                try await commits.beginInFlight(.queue("a")), try await commits.begin(.queue("b")),
                try await commits.begin(.queue("c")),
            ]
            let waiting = try await commits.begin(.queue("d"))
            commits.stop()
            await #expect(throws: GroupCommitStopped.self) { try await waiting.value }
            await #expect(throws: GroupCommitStopped.self) { try await commits.append(.queue("e")) }
            try await ledger.release(holder)
            for task in accepted { _ = try await task.value }
            await running
            #expect(try await ledger.log().map(\.job) == ["a", "b", "c"])
        }
    }

    @Test func requestsLeftAfterTheGraceFail() async throws {
        try await TestLedger.with { ledger async throws in
            var settings = GroupCommit.Settings.patient
            settings.grace = .milliseconds(100)
            let commits = GroupCommit(ledger.store, settings)
            async let running: Void = commits.run()
            let holder = try await ledger.holdLog()
            let request = AppendRequest.queue("in flight")
            let (inFlight, queued) = (
                try await commits.beginInFlight(request), try await commits.begin(.queue("queued"))
            )
            commits.stop()
            await #expect(throws: GroupCommitStopped.self) { try await queued.value }
            let error = await #expect(throws: OutcomeUnknown.self) { try await inFlight.value }
            #expect(error?.description.contains("retry with the same event ids") == true)
            await running
            try await ledger.release(holder)
            _ = try await ledger.store.append([request])[0].get()
            #expect(try await ledger.log().map(\.job) == ["in flight"])
        }
    }

    @Test func cancellingTheTaskThatRunsItEndsItAtOnce() async throws {
        try await TestLedger.with { ledger async throws in
            let commits = GroupCommit(ledger.store)
            let running = Task { await commits.run() }
            let holder = try await ledger.holdLog()
            let (inFlight, queued) = (
                try await commits.beginInFlight(.queue("a")), try await commits.begin(.queue("b"))
            )
            running.cancel()
            await #expect(throws: GroupCommitStopped.self) { try await queued.value }
            await #expect(throws: OutcomeUnknown.self) { try await inFlight.value }
            await running.value
            try await ledger.release(holder)
        }
    }

    /// The answer is lost after the commit: the outcome is unknown, and the retry finds the event.
    @Test func aConnectionThatBreaksMidCommitLeavesItUnknownAndARetryResolvesIt() async throws {
        try await TestLedger.with { ledger async throws in
            let proxy = try ledger.proxy()
            let store = EventStore(url: try ledger.url(through: proxy), ledger: ledger.name)
            try await store.withGroupCommit(.patient) { commits in
                _ = try await commits.append(.queue("a"))
                let request = AppendRequest.progress("a")
                proxy.loseAnswer(toRequestWith: "completed")
                let error = await #expect(throws: OutcomeUnknown.self) { try await commits.append(request) }
                #expect(error?.description.contains("retry with the same event ids") == true)
                #expect(proxy.lost == 1)
                let appended = try await commits.append(request)[0]
                #expect(appended.position == 2 && appended.isDuplicate)
                #expect(try await commits.append(.progress("a", 2))[0].position == 3)
            }
            await store.close()
            proxy.stop()
        }
    }

    /// Nothing was under way, so no outcome is unknown.
    @Test func aConnectionThatWasCutWhileIdleIsReplacedUnnoticed() async throws {
        try await TestLedger.with { ledger async throws in
            let name = "\(ledger.name)-idle"
            let store = EventStore(url: ledger.url, ledger: ledger.name, applicationName: name)
            try await store.withGroupCommit(.patient) { commits in
                _ = try await commits.append(.queue("a"))
                let connection = try await ledger.connect()
                try await connection.query(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1", name)
                _ = try await eventually("the server process is gone") {
                    try await connection.query("SELECT FROM pg_stat_activity WHERE application_name = $1", name).isEmpty
                        ? true : nil
                }
                #expect(try await commits.append(.progress("a"))[0].position == 2)
                await connection.close()
            }
            await store.close()
        }
    }

    /// A call that is not answered keeps nobody waiting for longer than was promised: neither those
    /// behind it nor its own callers. It goes on, and its events are found by a retry.
    @Test func aCallThatIsStuckKeepsNobody() async throws {
        try await TestLedger.with { ledger async throws in
            var settings = GroupCommit.Settings.patient
            settings.timeout = .milliseconds(200)
            // Longer than a busy machine needs to see that the request is in flight.
            settings.callTimeout = .seconds(15)
            try await ledger.store.withGroupCommit(settings) { commits in
                let holder = try await ledger.holdLog()
                let id = EventID.version7()
                let first = AppendRequest(
                    job: "a", events: [NewEvent(type: "queued", data: #"{"name":"n"}"#, id: id)])
                let stuck = try await commits.beginInFlight(first)
                let queued = try await commits.begin(.queue("b"))
                await #expect(throws: GroupCommitBusy.self) { try await queued.value }
                await #expect(throws: OutcomeUnknown.self) { try await stuck.value }
                // A call without callers still shows that appends wait.
                #expect(commits.longestInFlight >= settings.callTimeout)
                // Also behind a call that has no caller any more.
                await #expect(throws: GroupCommitBusy.self) { try await commits.append(.queue("c")) }

                try await ledger.release(holder)
                let again = try await eventually("the call ends") { () -> Appended? in
                    do {
                        return try await commits.append(first)[0]
                    } catch is GroupCommitBusy {
                        return nil
                    } catch is OutcomeUnknown {
                        return nil
                    }
                }
                #expect(again.position == 1 && again.isDuplicate)
                #expect(try await ledger.log().map(\.job) == ["a"])
            }
        }
    }

    @Test func aServerThatStaysAwayFailsTheCallerAfterItsTimeout() async throws {
        // A stopped proxy no longer listens.
        let proxy = try CuttingProxy(target: 9)
        proxy.stop()
        let store = EventStore(url: "host=127.0.0.1 port=\(proxy.port) user=nobody", timeout: .zero)
        var settings = GroupCommit.Settings.patient
        // Longer than it takes to be refused.
        settings.timeout = .seconds(1)
        try await store.withGroupCommit(settings) { commits in
            let error = await #expect(throws: PostgresError.self) { try await commits.append(.queue("a")) }
            #expect(error?.isConnectionFailure == true && error?.outcomeIsUnknown == false)
        }
        await store.close()
    }
}

/// Requests that wait for a connection.
@Suite(.timeLimit(.minutes(15))) struct GroupCommitConnectingTests {
    /// The server takes the connection and says nothing.
    @Test func aConnectionThatIsNotMadeKeepsNobody() async throws {
        let server = try SilentServer()
        let store = EventStore(url: "host=127.0.0.1 port=\(server.port) user=nobody connect_timeout=60", timeout: .zero)
        var settings = GroupCommit.Settings.patient
        settings.timeout = .milliseconds(200)
        let commits = GroupCommit(store, settings)
        let running = Task { await commits.run() }
        let began = ContinuousClock.now
        await #expect(throws: GroupCommitBusy.self) { try await commits.append(.queue("a")) }
        // Otherwise it would have waited for the time limit of the connection.
        #expect(began.duration(to: .now) < .seconds(60))
        // It hangs up, which ends the attempt.
        server.stop()
        running.cancel()
        await running.value
        await store.close()
    }
}

extension TestLedger {
    func proxy() throws -> CuttingProxy {
        try CuttingProxy(target: UInt16(try #require(URLComponents(string: url)?.port)))
    }

    /// The ledger's address through the proxy.
    func url(through proxy: CuttingProxy) throws -> String {
        var address = try #require(URLComponents(string: url))
        address.port = Int(proxy.port)
        return try #require(address.string)
    }
}
