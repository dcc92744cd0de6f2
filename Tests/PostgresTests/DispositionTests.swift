import Foundation
import Testing

@testable import Postgres

/// Every code in the manual's appendix A is classified: a new code fails this test, instead of
/// becoming a 500 by chance.
@Suite struct DispositionTests {
    /// The classes that are not defects, except for the codes below.
    private static let classes: [String: Disposition] = [
        "08": .unknown, "28": .outage, "3D": .outage, "3F": .outage, "40": .retry, "53": .outage, "57": .unknown,
        "58": .outage,
        "72": .retry, "F0": .outage,
    ]
    private static let codes: [String: Disposition] = [
        "08001": .outage, "08003": .outage, "08004": .outage, "25006": .outage, "25P03": .retry, "25P04": .retry,
        "26000": .retry,
        "40003": .unknown, "42501": .outage, "42703": .outage, "42883": .outage, "42P01": .outage, "42P05": .retry,
        "55006": .retry, "55P03": .retry, "57014": .outage, "57P03": .outage, "57P04": .outage, "57P05": .retry,
        "XX001": .outage, "XX002": .outage,
    ]
    /// Mistakes in a statement, its data or a program; never a passing condition.
    private static let defects: Set<String> = [
        "00", "01", "02", "03", "09", "0A", "0B", "0F", "0L", "0P", "0Z", "20", "21", "22", "23", "24", "25", "26",
        "27", "2B",
        "2D",
        "2F", "34", "38", "39", "3B", "42", "44", "54", "55", "HV", "P0", "XX",
    ]

    private static func allCodes() throws -> [String] {
        let versions = try FileManager.default.contentsOfDirectory(atPath: "/usr/share/postgresql")
        let files = versions.map { "/usr/share/postgresql/\($0)/errcodes.txt" }.filter {
            FileManager.default.fileExists(atPath: $0)
        }
        return try files.flatMap { try String(contentsOfFile: $0, encoding: .utf8).split(separator: "\n") }
            .filter { $0.wholeMatch(of: /[0-9A-Z]{5} .*/) != nil }.map { String($0.prefix(5)) }
    }

    @Test func everyCodeHasItsDisposition() throws {
        let codes = try Self.allCodes()
        #expect(codes.count > 200)
        for code in codes {
            let state = SQLState(code)
            let expected = Self.codes[code] ?? Self.classes[state.category] ?? .defect
            #expect(state.disposition == expected, "\(code)")
            #expect(
                Self.classes[state.category] != nil || Self.defects.contains(state.category),
                "the class of \(code) is new")
        }
    }

    @Test func onlyErrorsThatPassAreRetriable() throws {
        for code in try Self.allCodes() where SQLState(code).disposition == .retry {
            #expect(SQLState(code).isRetriable, "\(code)")
        }
        for code in try Self.allCodes() where SQLState(code).disposition == .defect {
            #expect(!SQLState(code).isRetriable, "\(code)")
        }
    }

    @Test func theLedgersOwnCodesAreRefusals() {
        for number in 1...9 { #expect(SQLState("JL00\(number)").disposition == .refusal) }
    }

    @Test(arguments: [
        (PostgresError.Kind.cannotConnect, Disposition.outage), (.busy, .outage), (.closed, .outage),
        (.connectionLost, .unknown),
        (.timedOut, .unknown), (.cancelled, .unknown), (.decoding, .defect), (.usage, .defect), (.server, .defect),
    ])
    func everyKindHasItsDisposition(_ kind: PostgresError.Kind, _ disposition: Disposition) {
        #expect(PostgresError(kind, "test").disposition == disposition)
    }

    /// Within a transaction a statement cannot be repeated; the whole transaction can.
    @Test func anOutdatedPlanInATransactionIsSentAgain() async throws {
        try await withConnection { connection in
            var statement = PostgresStatement("SELECT * FROM outdated_plan", [])
            statement.isPrepared = true
            try await connection.execute(script: "CREATE TEMPORARY TABLE outdated_plan AS SELECT 1 AS a")
            _ = try await connection.query(statement)
            try await connection.execute(script: "ALTER TABLE outdated_plan ADD b int")
            let prepared = statement
            let error = try await postgresError { try await connection.transaction { try await $0.query(prepared) } }
            #expect(error.disposition == .retry && error.isRetriable)
            #expect(try await connection.transaction { try await $0.query(prepared) }.count == 1)
        }
    }
}
