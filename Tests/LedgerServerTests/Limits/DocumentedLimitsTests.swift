import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

/// The OpenAPI document has the limits of the ledger.
@Suite struct DocumentedLimitsTests {
    /// All values with this name, at any depth.
    private static func values(of name: String, in json: JSON) -> [JSON] {
        json.members.flatMap { $0.key == name ? [$0.value] : values(of: name, in: $0.value) }
            + json.elements.flatMap { values(of: name, in: $0) }
    }

    @Test func areThoseOfTheLedger() async throws {
        try await TestService.with { service in
            let document = try await service.ask("GET", "/openapi.json", token: "").json
            let longestID: Int32 = try await service.ledger.store.pool.withConnection {
                try await $0.query("SELECT longest_stream_id()").only().decode(0)
            }
            // Of the texts with a limit, only ids of jobs may have more than 100 characters.
            let lengths = Self.values(of: "maxLength", in: document).compactMap(\.number).filter { $0 > 100 }
            #expect(lengths.count >= 4 && lengths.allSatisfy { $0 == Int(longestID) }, "\(lengths)")

            // Versions and run indexes end with Int32; whatever may be larger is a position or a
            // size of the log.
            let numbers = Self.values(of: "maximum", in: document).compactMap(\.number).filter { $0 > Int(Int32.max) }
            #expect(
                numbers.count >= 4 && numbers.allSatisfy { $0 == Int(Position.positions.upperBound) }, "\(numbers)")

            let schemas = document["components"]["schemas"]
            for name in [
                "NewEvent", "NewEventOfJob", "NewCloudEvent", "NewStreamEvent", "NewEventOfStream",
                "NewStreamCloudEvent",
            ] {
                let description = schemas[name]["properties"]["data"]["description"].text ?? ""
                #expect(
                    description.contains("At most \(AppendLimits.bytesOfData >> 20) MiB."), "\(name): \(description)")
            }
        }
    }
}
