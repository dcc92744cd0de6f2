import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Several batches of one caller are under way at once, but are written in order.
@Suite struct TurnsTests {
    /// Requests for one job, so that a batch out of order would be refused or misnumbered.
    private static func requests(_ count: Int) -> [AppendRequest] {
        (0..<count).map { number in
            number == 0
                ? AppendRequest(
                    job: "a", events: [NewEvent(type: "queued", data: #"{"name":"n"}"#)], expectedVersion: 0)
                : AppendRequest(
                    job: "a", events: [NewEvent(type: "progress", data: #"{"completed":\#(number)}"#)],
                    expectedVersion: Int32(number))
        }
    }

    @Test(arguments: [1, 2, 8])
    func batchesAreWrittenInOrderWhateverTheConnections(connections: Int) async throws {
        try await TestLedger.with(connections: connections) { ledger async throws in
            let answers = try await ledger.store.append(Self.requests(7_500))
            #expect(try answers.map { try $0.get()[0].position } == Array(1...7_500))
            #expect(try await Self.turnsLeft(in: ledger) == 0)
        }
    }

    /// A batch that loses its connection is sent again, and the batch after it waits.
    @Test func theOrderSurvivesLostConnections() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("turns: seed \(seed)")
        try await TestLedger.with { ledger async throws in
            let name = "\(ledger.name)-turns"
            let store = EventStore(url: ledger.url, ledger: ledger.name, connections: 4, applicationName: name)
            let requests = Self.requests(20_000)
            try await withThrowingTaskGroup(of: Void.self) { group in
                group.addTask {
                    var random = SeededGenerator(seed: seed)
                    let connection = try await ledger.connect()
                    for cut in 1...5 {
                        // Cuts the connection at random places of a batch.
                        let place = Int64(cut) * 2_500 + Int64(random.below(2_000))
                        _ = try await eventually("\(place) events") {
                            try await ledger.store.head() >= place ? true : nil
                        }
                        try await connection.query(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1",
                            name + "%")
                    }
                    await connection.close()
                }
                // A batch whose answer was lost is answered as a duplicate, at its original
                // position.
                let answers = try await store.append(requests, timeout: .seconds(60))
                #expect(try answers.map { try $0.get()[0].position } == Array(1...20_000))
                try await group.waitForAll()
            }
            let versions = try await ledger.store.pool.withConnection { connection in
                try await connection.query("SELECT count(*) FROM events WHERE position <> version").only().decode(
                    0, as: Int64.self)
            }
            #expect(versions == 0)
            await store.close()
        }
    }

    /// A batch whose requests are all refused before they are sent still takes its turn.
    @Test func refusedBatchesBlockNobody() async throws {
        try await TestLedger.with { ledger async throws in
            var requests = Self.requests(1)
            requests += (0..<3_000).map { _ in
                AppendRequest(job: "a", events: [NewEvent(type: "progress", data: "\u{0}")])
            }
            requests += [AppendRequest(job: "a", events: [NewEvent(type: "finished")])]
            let answers = try await ledger.store.append(requests, timeout: .zero)
            #expect(try answers[0].get()[0].position == 1)
            #expect(answers[1...3_000].allSatisfy { (try? $0.get()) == nil })
            #expect(try answers[3_001].get()[0].position == 2)
        }
    }

    private static func turnsLeft(in ledger: TestLedger) async throws -> Int64 {
        try await ledger.store.pool.withConnection {
            try await $0.query("SELECT count(*) FROM checkpoints WHERE reader LIKE 'append %'").only().decode(0)
        }
    }
}
