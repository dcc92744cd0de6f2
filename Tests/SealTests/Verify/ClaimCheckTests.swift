import LedgerTesting
import Postgres
import Testing

@testable import Seal

/// Who holds which value follows from the log. A record that does not is named.
@Suite struct ClaimCheckTests {
    @Test(arguments: [
        ("UPDATE claims SET stream_id = 'u-2' WHERE value = 'ada@example.com'", 1, #""u-2" is kept as the holder"#),
        ("DELETE FROM claims WHERE key = 'discord_id'", 2, "is not kept"),
        ("INSERT INTO claims VALUES ('user', 'email', 'eve', 'u-1')", 3, "which it is not by the log"),
    ])
    func aChangedClaimIsNamed(_ change: String, _ position: Int64, _ message: String) async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await TestCategories.install(on: connection)
            for (user, type, data) in [
                ("u-1", "registered", #"{"email": "Ada@example.com"}"#), ("u-2", "registered", #"{"discord_id": "2"}"#),
                ("u-1", "updated", "{}"),
            ] {
                _ = try await TestCategories.append("user", user, type, data, on: connection)
            }
            #expect(try await ClaimCheck.findings(head: 3, on: connection).isEmpty)
            // As somebody does who means it.
            try await connection.execute(
                script: """
                    ALTER TABLE claims DROP CONSTRAINT claims_stream_key;
                    SET jobledger.appending = 'on';
                    \(change)
                    """)
            let found = try await ClaimCheck.findings(head: 3, on: connection)
            #expect(found.map(\.positions) == [position...position], "\(found)")
            #expect(found.first?.message.contains(message) == true, "\(found)")
            #expect(found.first?.kind == .claim)
            let answer = try await SealVerification(ledger.store, key: nil).run()
            #expect(answer.findings.contains { $0.kind == .claim })
            await connection.close()
        }
    }
}
