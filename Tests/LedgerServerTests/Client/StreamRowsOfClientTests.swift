import EventStore
import LedgerClient
import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

/// Rows of streams of any category, by the client library.
@Suite(.timeLimit(.minutes(10))) struct StreamRowsOfClientTests {
    private let member = Category("member")!

    private func withMembers(
        _ projections: [ProjectionDefinition], _ body: @Sendable (LedgerClient) async throws -> Void
    ) async throws {
        try await TestService.with(projecting: true, projections: projections) { service in
            let owner = try await service.ledger.connect()
            try await TestProjections.installCategories(on: owner)
            await owner.close()
            try await body(try LedgerClient(url: service.url, token: service.token))
        }
    }

    private static func text(_ row: [UInt8]?) -> String? { row.map { String(decoding: $0, as: UTF8.self) } }

    @Test func areReadNowAndAsTheyWere() async throws {
        try await withMembers([try TestProjections.members()]) { ledger in
            let id: JobID = "ü/1?&"
            #expect(try await ledger.row(of: member, id) == nil)
            let first = try await ledger.append(
                NewEvent(type: "registered", data: #"{"email":"a"}"#), to: id, category: member)
            let second = try await ledger.append(
                NewEvent(type: "updated", data: #"{"email":"b"}"#), to: id, category: member)
            let now = try await ledger.row(of: member, id, minPosition: second.position)
            #expect(Self.text(now) == #"{"id":"ü/1?&","email":"b","events":2}"#)
            let then = try await ledger.row(of: member, id, at: first.position)
            #expect(Self.text(then) == #"{"id":"ü/1?&","email":"a","events":1}"#)
            #expect(try await ledger.row(of: member, id, at: 0) == nil)
        }
    }

    @Test func areOfOneReadModel() async throws {
        let projections = [try TestProjections.members(), try TestProjections.members("member_counts")]
        try await withMembers(projections) { ledger in
            let added = try await ledger.append(NewEvent(type: "registered"), to: "u-1", category: member)
            for name in ["member_rows", "member_counts"] {
                let row = try await ledger.row(of: member, "u-1", readModel: name, minPosition: added.position)
                #expect(Self.text(row) == #"{"id":"u-1","email":null,"events":1}"#)
            }
            let several = try await #require(throws: LedgerClientError.self) {
                try await ledger.row(of: member, "u-1")
            }
            #expect(several.kind == .refused(code: "invalid_request"), "\(several)")
            let none = try await #require(throws: LedgerClientError.self) {
                try await ledger.row(of: Category("plan")!, "s")
            }
            #expect(none.kind == .refused(code: "not_found"), "\(none)")
        }
    }
}
