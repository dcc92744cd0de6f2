import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// What the database makes of a log that was restored from a snapshot.
@Suite struct RestoredSnapshotTests {
    /// The answer is exact for what the reader remembers, and an epoch begins once.
    @Test(
        arguments: [
            // What is remembered, and behind which of it the log ends in other events.
            (Array(1...20), 12, 12), (Array(1...20), 0, 0), ([5, 10, 15, 20], 12, 10), ([15, 20], 12, 0),
            (Array(1...12), 12, 12), (Array(1...20), 20, 20),
        ] as [([Position], Position, Position)])
    func anEpochBeginsWhereTheEventsAreOthers(_ remembered: [Position], _ kept: Position, _ shared: Position)
        async throws
    {
        for others in [0, 3, 30] {
            try await TestLedger.with { ledger async throws in
                for job in 1...20 { try await ledger.queue(job) }
                let epoch = try await ledger.epochDigits()
                let ids = try await ledger.store.page(EventQuery()).map(\.id)
                try await ledger.lose(after: kept, beginningEpoch: false, appending: others)
                let connection = try await ledger.connect()
                for _ in 1...2 {
                    let answer: Position = try await connection.query(
                        "SELECT notice_restore($1, $2, $3)", epoch.text, remembered, remembered.map { ids[Int($0) - 1] }
                    ).only().decode(0)
                    #expect(answer == min(shared, remembered.last!), "\(others) others")
                    let isOther = shared < remembered.last!
                    #expect(try await ledger.epochStarts() == (isOther ? [1, shared + 1] : [1]), "\(others) others")
                }
                await connection.close()
            }
        }
    }

    /// A second restore of the snapshot takes back the epoch that the first one began. Who
    /// remembers that epoch is heard all the same, once.
    @Test func anEpochThatWasRestoredAwayIsHeard() async throws {
        try await TestLedger.with { ledger async throws in
            for job in 1...9 { try await ledger.queue(job) }
            let ids = try await ledger.store.page(EventQuery()).map(\.id)
            let connection = try await ledger.connect()
            try await ledger.lose(after: 6, beginningEpoch: false, appending: 5)
            for _ in 1...2 {
                try await connection.query(
                    "SELECT notice_restore('0badcafe', $1, $2)", Array(1...9) as [Position], ids)
                #expect(try await ledger.epochStarts() == [1, 7])
            }
            // Nothing is begun where the log has it all, or knows that the epoch has ended.
            try await connection.query(
                "SELECT notice_restore('0badcafe', $1, $2)", Array(1...6) as [Position], Array(ids.prefix(6)))
            let first: String = try await connection.query(
                "SELECT left(epoch::text, 8) FROM epochs ORDER BY number LIMIT 1"
            ).only().decode(0)
            try await connection.query("SELECT notice_restore($1, $2, $3)", first, Array(1...9) as [Position], ids)
            #expect(try await ledger.epochStarts() == [1, 7])
            await connection.close()
        }
    }

    /// An operator who knows where the snapshot ended says so, after others have appended.
    @Test func anEpochCanBeginWhereItShouldHave() async throws {
        try await TestLedger.with { ledger async throws in
            for job in 1...5 { try await ledger.queue(job) }
            let epoch = try await ledger.epochDigits()
            let connection = try await ledger.connect()
            for position in [0, -1, 7] as [Position] {
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.query("SELECT begin_epoch($1)", position)
                }
                #expect(error?.message == "an epoch begins at a position from 1 to 6, the one behind the last")
            }
            try await connection.query("SELECT begin_epoch($1)", 3 as Position)
            #expect(try await ledger.epochStarts() == [1, 3])
            #expect(try await ledger.store.sharedPosition(of: Place(5, epoch: epoch)) == 2)
            await connection.close()
        }
    }

    /// It compares what it is given, and no more than that.
    @Test func anUnevenComparisonIsRefused() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let epoch = try await ledger.epochDigits()
            for count in [2, 100_001] {
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.query(
                        "SELECT notice_restore($1, $2, $3)", epoch.text, (1...count).map { Position($0) },
                        [EventID](repeating: .version7(), count: count == 2 ? 1 : count))
                }
                #expect(error?.sqlState == SQLState("22023"), "\(error!)")
            }
            await connection.close()
        }
    }
}
