import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Appends many requests in order: one batch is prepared while another is written.
@Suite(.timeLimit(.minutes(15))) struct AppendInOrderTests {
    private struct SourceBroke: Error {}

    /// Parts of odd sizes, empty parts, a part that is split into several calls, and refusals in
    /// between: one answer per request, in order.
    @Test func answersComeInOrder() async throws {
        try await TestLedger.with { ledger async throws in
            var parts: [[AppendRequest]] = [[.queue("a")], [], (1...2500).map { .progress("a", $0) }]
            parts += [
                [.progress("ghost"), .progress("a", 2501)], [], [AppendRequest(job: "a", events: [])], [.queue("b")],
                [],
            ]
            let sent = parts.flatMap { $0 }
            var answers: [AppendAnswer] = []
            try await ledger.store.append(
                inOrder: { parts.isEmpty ? nil : parts.removeFirst() }, answered: { answers += $0 })
            #expect(answers.count == sent.count)
            let refused = answers.indices.filter { if case .failure = answers[$0] { true } else { false } }
            #expect(refused == [2501, 2503])
            let written = sent.indices.filter { !refused.contains($0) }.map { sent[$0].events[0].id }
            #expect(try await ledger.log().map(\.id) == written)
            let positions = answers.compactMap { try? $0.get()[0].position }
            #expect(positions == written.indices.map { Position($0) + 1 })
        }
    }

    /// The first batch cannot be committed before the second part is requested.
    @Test func theNextPartIsReadWhileOneIsWritten() async throws {
        try await TestLedger.with { ledger async throws in
            let holder = try await ledger.holdLog()
            var asked = 0
            try await ledger.store.append(
                inOrder: {
                    asked += 1
                    if asked == 2 { try await ledger.release(holder) }
                    return asked < 3 ? [.queue("\(asked)")] : nil
                }, answered: { for answer in $0 { _ = try answer.get() } })
            #expect(try await ledger.log().map(\.job) == ["1", "2"])
        }
    }

    @Test func lostAnswersAreResolvedAndTheOrderKept() async throws {
        try await TestLedger.with { ledger async throws in
            let proxy = try ledger.proxy()
            let store = EventStore(url: try ledger.url(through: proxy), ledger: ledger.name, connections: 1)
            var parts: [[AppendRequest]] = [[.queue("a")]] + (0..<6).map { _ in (0..<100).map { .progress("a", $0) } }
            let sent = parts.flatMap { $0 }
            var answers: [Appended] = []
            try await store.append(
                inOrder: {
                    proxy.loseAnswer(toRequestWith: "completed")
                    return parts.isEmpty ? nil : parts.removeFirst()
                }, answered: { answers += try $0.map { try $0.get()[0] } })
            #expect(proxy.lost > 0)
            #expect(answers.map(\.position) == sent.indices.map { Position($0) + 1 })
            #expect(answers.map(\.eventID) == sent.map { $0.events[0].id })
            #expect(try await ledger.count() == Int64(sent.count))
            await store.close()
            proxy.stop()
        }
    }

    @Test func requestsBeforeAnErrorOfTheSourceAreWrittenAndAnswered() async throws {
        try await TestLedger.with { ledger async throws in
            var (asked, answered) = (0, 0)
            await #expect(throws: SourceBroke.self) {
                try await ledger.store.append(
                    inOrder: {
                        asked += 1
                        if asked == 3 { throw SourceBroke() }
                        return [.queue("\(asked)")]
                    }, answered: { answered += $0.count })
            }
            #expect(answered == 2)
            #expect(try await ledger.count() == 2)
        }
    }
}
