import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@Suite struct CategoryTransferTests {
    /// Streams of all categories, and which of them holds which value.
    @Test func otherCategoriesGoAlong() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await TestCategories.install(on: connection)
            for (category, stream, type, data) in [
                ("user", "u 1", "registered", #"{ "email" : "Ada@example.com" }"#),
                ("job", "u 1", "queued", #"{"name": "n"}"#),
                ("strategy", "s", "saved", #"{"user_id": "u 1", "n": 1.50}"#),
                ("user", "u 2", "registered", #"{"discord_id": "2"}"#),
                ("user", "u 1", "removed", "{}"), ("user", "u 2", "updated", #"{"email": "ada@example.com"}"#),
            ] {
                _ = try await TestCategories.append(category, stream, type, data, on: connection)
            }
            try await LogFileTests.fill(ledger, jobs: 5)
            let whole = try await LogFileTests.export(ledger)
            try await TestLedger.with { copy async throws in
                // The rules of a category are not part of a log: it must be installed first.
                let error = await #expect(throws: (any Error).self) {
                    try await LogFileTests.importing(whole, into: copy)
                }
                #expect("\(error!)".contains(#"position 1: there is no category "user""#), "\(error!)")
                #expect(try await copy.count() == 0)
                let other = try await copy.connect()
                try await TestCategories.install(on: other)
                #expect(try await LogFileTests.importing(whole, into: copy).imported == 21)
                #expect(try await LogFileTests.importing(whole, into: copy).imported == 0)
                #expect(try await LogFileTests.rows(copy) == LogFileTests.rows(ledger))
                let lines = try await LogFileTests.export(copy).split(separator: "\n")
                #expect(lines.dropFirst().dropLast() == whole.split(separator: "\n").dropFirst().dropLast())
                let claims = "SELECT array_agg(c::text ORDER BY c::text) FROM claims AS c"
                let kept: [String] = try await other.query(claims).only().decode(0)
                #expect(try await connection.query(claims).only().decode(0, as: [String].self) == kept)
                #expect(kept == ["(user,discord_id,2,\"u 2\")", "(user,email,ada@example.com,\"u 2\")"])
                await other.close()
            }
            // A line that breaks a rule of its category.
            let lines = whole.split(separator: "\n").dropLast().map(String.init)
            let altered = lines.map { $0.replacing(#""type":"removed""#, with: #""type":"updated""#) }
            try await TestLedger.with { copy async throws in
                let other = try await copy.connect()
                try await TestCategories.install(on: other)
                let text = try await LogFileTests.whole(altered, ledger)
                let error = await #expect(throws: (any Error).self) {
                    try await LogFileTests.importing(text, into: copy)
                }
                #expect("\(error!)".contains("position 6: \"email\""), "\(error!)")
                #expect(try await copy.count() == 0)
                await other.close()
            }
            await connection.close()
        }
    }
}
