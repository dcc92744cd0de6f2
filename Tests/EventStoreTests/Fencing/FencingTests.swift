import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Testing

/// An old leader that goes on as if nothing had happened: it accepts writes, sessions with it stay
/// open, and nobody else stops it.
@Suite(.timeLimit(.minutes(10)), .serialized) struct FencingTests {
    /// Two leaders, and a proxy that leads new connections to the one that is told.
    private struct Leaders {
        let ledger: TestLedger
        let proxy: CuttingProxy
        let old: String
        let new: String
        /// The address of the proxy.
        let url: String

        func head(of url: String) async throws -> Position {
            let store = EventStore(url: url, ledger: ledger.name)
            let head = try await store.head()
            await store.close()
            return head
        }

        /// Promotes the standby. The old leader stays as it is.
        func promote() async throws {
            let standby = try await PostgresConnection.connect(
                PostgresConfiguration(url: new), timeout: .seconds(60))
            try await standby.query("SELECT pg_promote(true, 60)")
            await standby.close()
        }
    }

    private static func withLeaders(_ body: (Leaders) async throws -> Void) async throws {
        try await ReplicatedLedger.with { replicated in
            // The cluster is asynchronous: otherwise the old leader could commit nothing.
            try await replicated.waitForStandbys("")
            let ledger = replicated.ledger
            let proxy = try CuttingProxy(before: ledger.url)
            try await body(
                Leaders(
                    ledger: ledger, proxy: proxy, old: ledger.url, new: replicated.standby.url,
                    url: proxy.address(insteadOf: ledger.url)))
            proxy.stop()
        }
    }

    /// Every session with the old leader ends as soon as one has met the new one, in transactions
    /// and between them.
    @Test func nothingIsSentToAServerThatWasLeftBehind() async throws {
        try await Self.withLeaders { leaders in
            let store = EventStore(url: leaders.url, ledger: leaders.ledger.name, connections: 4)
            let configuration = EventStore.configuration(url: leaders.url, ledger: leaders.ledger.name)
            let idle = try await PostgresConnection.connect(configuration)
            let busy = try await PostgresConnection.connect(configuration)
            try await store.withGroupCommit(.patient) { commits in
                #expect(try await commits.append(.queue("a"))[0].position == 1)
                try await leaders.promote()
                try await busy.execute(script: "BEGIN")
                try await busy.query("SELECT append_event('zombie', 'queued', '{\"name\":\"x\"}')")
                leaders.proxy.lead(to: leaders.new)
                // The old leader still answers. One session with the new one is enough.
                try await idle.query("SELECT 1")
                await (try PostgresConnection.connect(configuration)).close()
                for (session, statement) in [(idle, "SELECT append_event('z', 'queued', '{}')"), (busy, "COMMIT")] {
                    let error = await #expect(throws: PostgresError.self) { try await session.query(statement) }
                    #expect(error?.isRetriable == true && error?.outcomeIsUnknown == false, "\(error!)")
                    #expect("\(error!)".contains("old leader"))
                    #expect(await !session.isUsable())
                }
                // Whoever has sessions of its own connects anew.
                let appended = try await commits.append(.queue("b"))[0]
                #expect(try await store.append(.queued, to: "c").position == appended.position + 1)
                #expect(try await leaders.head(of: leaders.old) == 1)
                #expect(try await leaders.head(of: leaders.new) == appended.position + 1)

                await store.close()
            }
        }
    }

    /// The proxy errs, and leads to the old leader again.
    @Test func aNewSessionWithAnOldLeaderIsRefused() async throws {
        try await Self.withLeaders { leaders in
            var configuration = EventStore.configuration(url: leaders.url, ledger: leaders.ledger.name)
            configuration.leading = LeadingServer(memory: .seconds(600))
            try await leaders.promote()
            leaders.proxy.lead(to: leaders.new)
            await (try PostgresConnection.connect(configuration)).close()
            leaders.proxy.lead(to: leaders.old)
            let refused = await #expect(throws: PostgresError.self) {
                try await PostgresConnection.connect(configuration)
            }
            #expect(refused?.disposition == .outage && "\(refused!)".contains("old leader"), "\(refused!)")
            // The new one is gone: the cluster has decided for the old one.
            configuration.leading = LeadingServer(memory: .zero)
            for leader in [leaders.new, leaders.old] {
                leaders.proxy.lead(to: leader)
                await (try PostgresConnection.connect(configuration)).close()
            }
        }
    }

    /// A process whose sessions all still work looks for itself.
    @Test func aProcessLooksForAnotherLeader() async throws {
        try await Self.withLeaders { leaders in
            let ledger = leaders.ledger
            let configuration = EventStore.configuration(url: leaders.url, ledger: ledger.name, writes: true)
            let lease = Lease("work", holder: "worker", times: .standard)
            let work = LeasedWork(lease, on: configuration, logger: Logger(label: "test"))
            let (servers, server) = AsyncStream.makeStream(of: String.self)
            let running = Task {
                await work.run { connection, _ in
                    while true {
                        let timeline: String = try await connection.query("SELECT current_timeline()").only().decode(0)
                        server.yield(timeline)
                        try await Task.sleep(for: .milliseconds(20))
                    }
                }
            }
            var met = servers.makeAsyncIterator()
            #expect(await met.next() == "00000001")
            try await leaders.promote()
            leaders.proxy.lead(to: leaders.new)
            var next = await met.next()
            while next == "00000001" { next = await met.next() }
            #expect(next == "00000002")
            running.cancel()
            await running.value
        }
    }

    /// An answer that takes long is not read to its end: an export, for example.
    @Test func aLongAnswerOfAServerThatWasLeftBehindIsGivenUp() async throws {
        try await Self.withLeaders { leaders in
            let configuration = EventStore.configuration(url: leaders.url, ledger: leaders.ledger.name)
            let numbers = "SELECT generate_series(1, 10000000)"
            let (reader, copier) = (
                try await PostgresConnection.connect(configuration), try await PostgresConnection.connect(configuration)
            )
            var rows = reader.stream(numbers, chunk: 1000).makeAsyncIterator()
            var bytes = copier.copyOut("COPY (\(numbers)) TO STDOUT", chunk: 1000).makeAsyncIterator()
            #expect(try await rows.next() != nil)
            #expect(try await bytes.next() != nil)
            try await leaders.promote()
            leaders.proxy.lead(to: leaders.new)
            await (try PostgresConnection.connect(configuration)).close()
            let errors = [
                await #expect(throws: PostgresError.self) { while try await rows.next() != nil {} },
                await #expect(throws: PostgresError.self) { while try await bytes.next() != nil {} },
            ]
            for error in errors { #expect("\(error!)".contains("old leader") && error?.isRetriable == true) }
            for session in [reader, copier] { #expect(await !session.isUsable()) }
        }
    }

    /// libpq takes the first host that accepts writes. The old leader does, and is passed over.
    @Test func anAddressOfBothLeadsToTheNewOne() async throws {
        try await Self.withLeaders { leaders in
            let hosts = try [leaders.old, leaders.new].map { url in
                try #require(URLComponents(string: url)?.queryItems?.first { $0.name == "host" }?.value)
            }
            let url = leaders.old.replacing("host=\(hosts[0])", with: "host=\(hosts[0]),\(hosts[1])")
            let store = EventStore(url: url, ledger: leaders.ledger.name)
            #expect(try await store.append(.queued, to: "a").position == 1)
            try await leaders.promote()
            // What this process learns of a timeline, it learns from a session.
            let other = EventStore.configuration(
                url: url.replacing("\(hosts[0]),\(hosts[1])", with: "\(hosts[1])"), ledger: leaders.ledger.name)
            var configuration = EventStore.configuration(url: url, ledger: leaders.ledger.name)
            configuration.url = other.url
            await (try PostgresConnection.connect(configuration)).close()
            #expect(try await store.append(.queued, to: "b").position == 2)
            #expect(try await leaders.head(of: leaders.old) == 1)
            #expect(try await leaders.head(of: leaders.new) == 2)
            await store.close()
        }
    }

    /// Nobody has told this process of a timeline: it asks all hosts, at first and once a second.
    @Test func theHostsOfAnAddressAreAsked() async throws {
        try await Self.withLeaders { leaders in
            let hosts = try [leaders.old, leaders.new].map { url in
                try #require(URLComponents(string: url)?.queryItems?.first { $0.name == "host" }?.value)
            }
            let url = leaders.old.replacing("host=\(hosts[0])", with: "host=\(hosts[0]),\(hosts[1])")
            func timeline(_ connection: PostgresConnection) async throws -> String {
                try await connection.query("SELECT current_timeline()").only().decode(0)
            }
            var configuration = EventStore.configuration(url: url, ledger: leaders.ledger.name)
            configuration.leading = LeadingServer(patience: .seconds(60))
            let before = try await PostgresConnection.connect(configuration)
            #expect(try await timeline(before) == "00000001")
            try await leaders.promote()
            let looking = Task { [configuration] in await LeadingServer.keepLooking(with: configuration) }
            _ = try await eventually("the old leader is left") { await before.isUsable() ? nil : true }
            looking.cancel()
            await looking.value
            await before.close()
            // A process that begins now.
            configuration.leading = LeadingServer(patience: .seconds(60))
            let after = try await PostgresConnection.connect(configuration)
            #expect(try await timeline(after) == "00000002")
            await after.close()
        }
    }

    /// A session that was open on the standby does not know the timeline.
    @Test func aSessionFromBeforeThePromotionBeginsAnew() async throws {
        try await Self.withLeaders { leaders in
            let configuration = EventStore.configuration(url: leaders.new, ledger: leaders.ledger.name)
            let session = try await PostgresConnection.connect(configuration, timeout: .seconds(60))
            #expect(try await session.query("SELECT pg_is_in_recovery()").only().decode(0, as: Bool.self))
            try await leaders.promote()
            // The server says with the answer to a statement that it is no standby any more.
            try await session.query("SELECT 1")
            let error = await #expect(throws: PostgresError.self) { try await session.query("SELECT 1") }
            #expect("\(error!)".contains("promoted") && error!.isRetriable)
        }
    }

    /// What writes asks for a server that accepts writes, with one host too, unless it is told
    /// otherwise.
    @Test func whatWritesWantsAPrimary() async throws {
        try await Self.withLeaders { leaders in
            func connect(_ url: String, writes: Bool) async throws {
                let configuration = EventStore.configuration(url: url, ledger: leaders.ledger.name, writes: writes)
                await (try PostgresConnection.connect(configuration)).close()
            }
            _ = try await eventually("the standby answers") { try? await connect(leaders.new, writes: false) }
            let error = await #expect(throws: PostgresError.self) { try await connect(leaders.new, writes: true) }
            #expect(error?.sqlState == .readOnly && error?.isRetriable == true, "\(error!)")
            #expect(error?.kind == .cannotConnect, "\(error!)")
            try await connect(leaders.new + "&target_session_attrs=any", writes: true)
            try await connect(leaders.old, writes: true)
        }
    }
}
