import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import LedgerTesting
import Testing

@testable import LedgerServer

/// Sends the request of each row of docs/http-conformance.md, byte by byte, on a connection of its
/// own.
@Suite("conformance to the specifications of HTTP, CloudEvents and event streams") struct ConformanceTests {
    struct Row: Sendable {
        let section: String
        /// `{T}` stands for a token, `{A}` for the fields Authorization and Host, `{J}` for those
        /// and Content-Type with JSON, `{P}` for the position of the job's event.
        let request: String
        /// The statuses of the answers, in order.
        let statuses: [Int]
        /// Texts that the answers contain, and texts that they do not, compared in lower case.
        var has: [String] = []
        var lacks: [String] = []
        /// The number of the job's events in the log afterwards.
        var events = 1
        /// The text after which an endless answer is not read further.
        var end: String?

        init(
            _ section: String, _ request: String, _ statuses: Int..., has: [String] = [], lacks: [String] = [],
            events: Int = 1,
            end: String? = nil
        ) {
            (self.section, self.request, self.statuses) = (section, request, statuses)
            (self.has, self.lacks, self.events, self.end) = (has, lacks, events, end)
        }
    }

    static let groups = ["messages": messages, "semantics": semantics, "CloudEvents": cloudEvents, "streams": streams]

    /// Each row has a job of its own, called `job` in its request, and reads to the end of the
    /// connection.
    @Test("each row", arguments: groups.keys.sorted()) func rows(_ group: String) async throws {
        try await TestService.with { service in
            for (number, row) in try #require(Self.groups[group]).enumerated() {
                let job = "j\(10 + number)"
                let position = try await service.ledger.queue(job).position
                func placed(_ text: String) -> String {
                    let fields = "host: x\r\nauthorization: Bearer \(service.token)\r\n"
                    return text.replacing("{J}", with: fields + Self.json).replacing("{A}", with: fields)
                        .replacing("{T}", with: service.token).replacing("{P}", with: "\(position)")
                        .replacing("/jobs/job/", with: "/jobs/\(job)/")
                        // A UUID has the same length, which the request's Content-Length depends
                        // on.
                        .replacing("018f0000-0000-7000-8000-000000000000", with: UUID().uuidString)
                        .replacing(#""subject":"job""#, with: #""subject":"\#(job)""#)
                }
                let raw = try RawConnection(service.url)
                try raw.send(placed(row.request))
                let answer = try await raw.answer(until: row.end.map(placed))
                let statuses = answer.split(separator: "HTTP/1.").compactMap { Int($0.dropFirst(2).prefix(3)) }
                #expect(statuses == row.statuses, "\(row.section): \(answer)")
                for text in row.has.map(placed) {
                    #expect(answer.lowercased().contains(text.lowercased()), "\(row.section): \(text) in \(answer)")
                }
                for text in row.lacks.map(placed) {
                    #expect(!answer.lowercased().contains(text.lowercased()), "\(row.section): \(text) in \(answer)")
                }
                let events = try await service.ledger.store.page(EventQuery(job: job)).count
                #expect(events == row.events, "\(row.section): \(answer)")
            }
        }
    }

    @Test("the page lists exactly these rows") func page() throws {
        let path = Repository.root.appending(path: "docs/http-conformance.md")
        let text = try String(contentsOf: path, encoding: .utf8)
        let listed = text.split(separator: "\n").filter { $0.hasPrefix("| ") && $0.contains(" | ") }
            .compactMap { $0.split(separator: "|").first.map { $0.trimmingCharacters(in: .whitespaces) } }
            .filter { $0 != "section" && !$0.hasPrefix("--") }
        let rows = Self.groups.values.joined().map(\.section)
        #expect(Set(listed) == Set(rows) && listed.count == rows.count)
    }
}
