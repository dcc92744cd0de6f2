import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Exactly one stream holds a value that must be unique, whoever comes at the same moment.
@Suite struct UniquenessTests {
    private enum Way: Int, CaseIterable { case one, batch, aborted, request }

    @Test func oneOfManyWhoRegisterAnAddressAtOnceHasIt() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("uniqueness: seed \(seed)")
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await TestCategories.install(on: connection)
            for round in 0..<6 {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for caller in 0..<32 {
                        group.addTask {
                            var random = SeededGenerator(seed: seed &+ UInt64(round * 100 + caller))
                            try await Self.register("a-\(round)", "\(round)-\(caller)", ledger, &random)
                        }
                    }
                    try await group.waitForAll()
                }
                // At least one was not aborted, so one has it: see register().
                let holders: [String] = try await connection.query(
                    """
                    SELECT stream_id::text FROM events
                     WHERE type = 'registered' AND lower(data ->> 'email') = $1
                    """, "a-\(round)"
                ).map { try $0.decode(0) }
                #expect(holders.count == 1, "seed \(seed), round \(round): \(holders)")
                // It is free again once its user is removed, and only then.
                let again = #"{"email": "A-\#(round)"}"#
                func registerAgain() async throws -> String {
                    try await TestCategories.append("user", "n-\(round)", "registered", again, on: connection)
                }
                #expect(try await registerAgain() == "JL008")
                _ = try await TestCategories.append("user", holders.first ?? "none", "removed", on: connection)
                #expect(try await Int64(registerAgain()) != nil)
            }
            #expect(try await connection.query("SELECT * FROM claim_differences()").isEmpty)
            await connection.close()
        }
    }

    /// Registers by a random way, at last by one that is not aborted.
    private static func register(
        _ email: String, _ user: String, _ ledger: TestLedger, _ random: inout SeededGenerator
    ) async throws {
        let session = try await ledger.connect()
        var way: Way
        repeat {
            way = Way(rawValue: Int(random.below(UInt64(Way.allCases.count))))!
            let spelling = random.below(2) == 0 ? email : email.uppercased()
            let data = #"{"email": "\#(spelling)"}"#
            switch way {
            case .one:
                _ = try await TestCategories.append("user", user, "registered", data, on: session)
            case .batch, .request:
                // Among others that are always new.
                try await session.query(
                    """
                    SELECT FROM append(ARRAY[$1 || '-x', $1, $1 || '-y'], '{registered,registered,registered}',
                      ARRAY[json_build_object('discord_id', $1 || '-x')::text, $2,
                            json_build_object('discord_id', $1 || '-y')::text],
                      categories => '{user,user,user}')
                    """, way == .request ? user + "-r" : user, data)
            case .aborted:
                try await session.execute(script: "BEGIN")
                _ = try await TestCategories.append("user", user, "registered", data, on: session)
                try await session.execute(script: "ROLLBACK")
            }
        } while way == .aborted
        await session.close()
    }
}
