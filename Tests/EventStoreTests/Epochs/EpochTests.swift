import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// The table of epochs: when one begins, and what the ledger shares with the readers of an earlier
/// one.
@Suite(.timeLimit(.minutes(10))) struct EpochTests {
    private struct Epoch: Equatable {
        var number: Int32
        var first: Position
        var reason: String
    }

    private static func epochs(_ connection: PostgresConnection) async throws -> [Epoch] {
        try await connection.query("SELECT number, first_position, reason FROM epochs ORDER BY number").map {
            Epoch(number: try $0.decode(0), first: try $0.decode(1), reason: try $0.decode(2))
        }
    }

    /// As if the last epoch had begun on another timeline or server than this one.
    private static func move(_ ledger: TestLedger, column: String, to value: String) async throws {
        let connection = try await ledger.connect(as: "promotion")
        try await connection.execute(
            script: """
                BEGIN;
                ALTER TABLE epochs DISABLE TRIGGER epochs_only_grow;
                UPDATE epochs SET \(column) = '\(value)' WHERE number = (SELECT max(number) FROM epochs);
                ALTER TABLE epochs ENABLE ALWAYS TRIGGER epochs_only_grow;
                COMMIT
                """)
        await connection.close()
    }

    private static let append = "SELECT position FROM append_event('a', 'progress', '{\"completed\":1}')"

    @Test func theFirstAppendOnAnotherTimelineBeginsOne() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            try await Self.move(ledger, column: "timeline", to: "0000ABCD")
            let first = try await ledger.connect()
            try await ledger.extendLockTimeouts(on: first)
            // An aborted append leaves none behind. It is one script, so that a busy test does not
            // hold the log.
            try await first.execute(
                script: """
                    BEGIN; \(Self.append);
                    DO $$BEGIN ASSERT (SELECT count(*) FROM epochs) = 2; END$$;
                    ROLLBACK
                    """)
            #expect(try await Self.epochs(first).count == 1)
            // Of many first appends at once, one begins it.
            try await withThrowingTaskGroup(of: Void.self) { group in
                for _ in 1...8 {
                    group.addTask {
                        let connection = try await ledger.connect()
                        try await connection.query(PostgresStatement(Self.append))
                        await connection.close()
                    }
                }
                try await group.waitForAll()
            }
            try await first.query(PostgresStatement(Self.append))
            let epochs = try await Self.epochs(first)
            #expect(epochs.map(\.first) == [1, 2])
            #expect(epochs.last?.reason.hasSuffix("follows 0000ABCD") == true)
            let isPresent: Bool = try await first.query(
                "SELECT epoch = (SELECT epoch FROM epochs ORDER BY number DESC LIMIT 1) FROM ledger"
            ).only().decode(0)
            #expect(isPresent)
            await first.close()
        }
    }

    @Test func anotherServerBeginsOne() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            try await Self.move(ledger, column: "system_identifier", to: "1")
            // Sessions that have appended know their timeline, and a session stays with its server.
            let connection = try await ledger.connect()
            try await connection.query(PostgresStatement(Self.append))
            try await connection.query(PostgresStatement(Self.append))
            let epochs = try await Self.epochs(connection)
            #expect(epochs.map(\.first) == [1, 2])
            #expect(epochs.last?.reason.contains("system identifier") == true)
            await connection.close()
        }
    }

    /// A session that has looked at the timeline for one ledger has not for another.
    @Test func aSessionMayAppendToSeveralLedgers() async throws {
        try await TestLedger.with { one async throws in
            try await TestLedger.with { other async throws in
                for ledger in [one, other] {
                    try await ledger.queue("a")
                    try await Self.move(ledger, column: "timeline", to: "0000ABCD")
                }
                let connection = try await one.connect()
                for ledger in [one, other, one] {
                    let append = "append_event('a', 'progress', '{\"completed\":1}')"
                    try await connection.query(PostgresStatement("SELECT \"\(ledger.name)\".\(append)"))
                }
                #expect(try await Self.epochs(connection).map(\.first) == [1, 2])
                let elsewhere = try await other.connect()
                #expect(try await Self.epochs(elsewhere).map(\.first) == [1, 2])
                for connection in [connection, elsewhere] { await connection.close() }
            }
        }
    }

    /// Whoever sets the setting by hand cannot change what is appended where.
    @Test func aForgedSettingChangesNoOrder() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            let connection = try await ledger.connect()
            for setting in ["", "00000001", "FFFFFFFF", "import", "x'; --"] {
                try await connection.query("SELECT set_config('jobledger.timeline', $1, false)", setting)
                try await connection.query(PostgresStatement(Self.append))
            }
            #expect(try await Self.epochs(connection).count == 1)
            #expect(try await ledger.store.head() == 6)
            await connection.close()
        }
    }

    @Test func beginEpochBeginsOne() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            // One for both reasons.
            try await Self.move(ledger, column: "timeline", to: "0000ABCD")
            let connection = try await ledger.connect()
            let begun: EventID = try await connection.query("SELECT begin_epoch()").only().decode(0)
            #expect(try await ledger.store.epoch() == begun)
            try await ledger.progress("a", 1)
            #expect(
                try await Self.epochs(connection).dropFirst() == [
                    Epoch(number: 2, first: 2, reason: "begun by begin_epoch()")
                ])
            await connection.close()
        }
    }

    @Test func theRecordOnlyGrows() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await connection.query("SET session_replication_role = replica")
            for change in ["UPDATE epochs SET number = 2", "DELETE FROM epochs", "TRUNCATE epochs"] {
                await #expect(throws: PostgresError.self) { try await connection.query(PostgresStatement(change)) }
            }
            await connection.close()
        }
    }

    /// `shared_position()` against a model in plain values, over random tables of epochs.
    @Test func sharedPositionIsWhatTheModelSays() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("shared positions: seed \(seed)")
        try await TestLedger.with { ledger async throws in
            var random = SeededGenerator(seed: seed)
            for job in 1...20 { try await ledger.queue("\(job)") }
            let connection = try await ledger.connect()
            for _ in 1...30 {
                // First positions may repeat, fall and lie beyond the head.
                var model = EpochModel()
                try await connection.query("BEGIN")
                try await connection.execute(
                    script: "ALTER TABLE epochs DISABLE TRIGGER epochs_only_grow; DELETE FROM epochs")
                for number in 1...Int32(1 + random.below(6)) {
                    let (epoch, first) = (EventID.version4(&random), Position(1 + random.below(24)))
                    model.begin(EpochDigits(epoch), first: first)
                    try await connection.query(
                        """
                        INSERT INTO epochs (number, epoch, first_position, reason, system_identifier, timeline)
                        VALUES ($1, $2, $3, 'random', '1', '00000001')
                        """, number, epoch, first)
                }
                let unknown = EpochDigits(EventID.version4(&random))
                let all: [EpochDigits?] = model.epochs.map { $0.digits } + [unknown, nil]
                for digits in all {
                    for position: Position in [0, 1, 2, 5, 10, 15, 19, 20, 21, 25] {
                        let shared: Position = try await connection.query(
                            "SELECT shared_position($1, $2)", digits?.text, position
                        ).only().decode(0)
                        let expected = model.shared(Place(position, epoch: digits), head: 20)
                        #expect(shared == expected, "\(position) in \(digits?.text ?? "none"), seed \(seed)")
                    }
                }
                try await connection.query("ROLLBACK")
            }
            await connection.close()
        }
    }

    @Test func aWholeEpochIsNamedToo() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            let epoch = try await ledger.store.epoch()
            let connection = try await ledger.connect()
            for (text, expected) in [
                (epoch.text, 1), (epoch.text.uppercased(), 1), (String(epoch.text.prefix(8)), 1),
                (String(epoch.text.prefix(7)), 0), (String(epoch.text.prefix(9)), 0), ("", 0),
            ] as [(String, Position)] {
                let shared: Position = try await connection.query("SELECT shared_position($1, 5)", text).only().decode(
                    0)
                #expect(shared == expected, "\(text)")
            }
            await connection.close()
        }
    }
}

extension EventID {
    fileprivate static func version4(_ random: inout SeededGenerator) -> EventID {
        let bits = (random.next(), random.next())
        return withUnsafeBytes(of: bits) { EventID(uuid: $0.loadUnaligned(as: uuid_t.self)) }
    }
}
