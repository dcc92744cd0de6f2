import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

@Suite struct ChangePageTests {
    /// The changes of all pages.
    private static func all(
        _ changes: Changes, from: Position, to: Position, limit: Int, on connection: PostgresConnection
    ) async throws -> [ChangePage.Change] {
        var found: [ChangePage.Change] = []
        var after: Position?
        repeat {
            let page = try await changes.page(from: from, to: to, after: after, limit: limit, on: connection)
            found += page.changes
            after = page.next
        } while after != nil
        return found
    }

    /// Pages of any size have the jobs of a whole comparison, in its order, and name for each
    /// column the event that blame names at the second position.
    @Test func pagesAgreeWithDiffAndBlame() async throws {
        let seed = UInt64.random(in: 0...9999)
        try await TestLedger.with { ledger async throws in
            let jobs = try await RandomJobs.append(60, mostEvents: 8, to: ledger, seed: seed)
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            let changes = Changes(definition, ledger: ledger.name)
            let connection = try await ledger.connect()
            var random = SeededGenerator(seed: seed)
            for limit in [1, 7, 1000] {
                let from = Int64(random.below(UInt64(jobs.head)))
                let to = from + Int64(random.below(UInt64(jobs.head - from + 1)))
                var whole: [Changes.Change] = []
                try await changes.run(from: from, to: to, on: connection) { whole.append($0) }
                let paged = try await Self.all(changes, from: from, to: to, limit: limit, on: connection)
                #expect(paged.map(\.stream) == whole.map(\.stream), "seed \(seed): \(from) to \(to) by \(limit)")
                #expect(paged.map(\.eventCount) == whole.map(\.eventCount), "seed \(seed)")
                for (change, told) in zip(paged, whole).prefix(12) {
                    #expect((change.before == nil) == told.isNew)
                    let columns = try JSONText.elements(of: Array(change.columns.utf8)[...]).map { column in
                        try JSONText.members(of: Array(column))
                    }
                    func text(_ members: [(name: ExactText, value: [UInt8])], _ name: ExactText) -> String {
                        members.first { $0.name == name }.map { String(decoding: $0.value, as: UTF8.self) } ?? "?"
                    }
                    let names = columns.map { JSONText.string(from: $0[0].value) ?? "?" }
                    #expect(names == (try JSONText.members(of: told.columns)).map(\.name.text), "seed \(seed)")
                    let blamed = try #require(
                        try await Blame(definition, ledger: ledger.name).run(
                            change.stream, at: to, in: ledger.store.pool))
                    for (name, members) in zip(names, columns) {
                        let event = blamed.first { $0.name == name }?.event
                        let said = try JSONText.members(of: Array(text(members, "event").utf8))
                        #expect(
                            event.map { "\($0.position)" } == text(said, "position"),
                            "seed \(seed): \(name) of \(change.stream) from \(from) to \(to)")
                    }
                }
            }
            // Nothing is left in the session.
            #expect(
                try await connection.query("SELECT to_regclass('pg_temp.chosen') IS NULL").only().decode(
                    0, as: Bool.self))
            await connection.close()
        }
    }

    /// A service needs no more than the role that reads.
    @Test func readersMayCompare() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a", total: 9)
            try await ledger.progress("a", 3)
            let reader = try await ledger.session(as: "reader")
            let definition = try ProjectionDefinition.builtIn("batch_jobs")
            let page = try await Changes(definition, ledger: ledger.name).page(from: 0, to: 2, limit: 5, on: reader)
            #expect(page.changes.map(\.stream) == ["a"] && page.changes[0].columns.contains(#""position":2"#))
            let columns = try await Blame(definition, ledger: ledger.name).run("a", at: 2, on: reader)
            #expect(columns?.first { $0.name == "completed" }?.event?.position == 2)
            await reader.close()
        }
    }

    @Test func aPageEndsAtItsBounds() async throws {
        try await TestLedger.with { ledger async throws in
            for job in 1...5 { try await ledger.queue(job, total: 9) }
            let connection = try await ledger.connect()
            let changes = Changes(try .builtIn("batch_jobs"), ledger: ledger.name)
            let first = try await changes.page(from: 0, to: 5, limit: 2, on: connection)
            #expect(first.changes.map(\.stream) == ["1", "2"] && first.next == 2)
            let last = try await changes.page(from: 0, to: 5, after: 4, limit: 2, on: connection)
            #expect(last.changes.map(\.stream) == ["5"] && last.next == nil)
            let beyond = try await changes.page(from: 0, to: 5, after: 99, limit: 2, on: connection)
            #expect(beyond.changes.isEmpty && beyond.next == nil)
            await connection.close()
        }
    }
}
