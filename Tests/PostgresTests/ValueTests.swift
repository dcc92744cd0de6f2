import Foundation
import LedgerTesting
import Testing

@testable import Postgres

/// A value that is sent as a parameter comes back the same.
@Suite(.timeLimit(.minutes(10))) struct ValueTests {
    private func expectRoundTrip<T: PostgresEncodable & PostgresDecodable & Equatable>(
        _ values: T..., location: SourceLocation = #_sourceLocation
    ) async throws {
        try await withConnection { connection in
            for value in values {
                let row = try await connection.query("SELECT $1 AS v", value).only()
                #expect(try row.decode("v", as: T.self) == value, sourceLocation: location)
                #expect(try row.decode(0, as: T?.self) == value, sourceLocation: location)
            }
            let null = try await connection.query("SELECT $1 AS v", T?.none).only()
            #expect(try null.decode("v", as: T?.self) == nil, sourceLocation: location)
        }
    }

    @Test func scalars() async throws {
        try await expectRoundTrip(true, false)
        try await expectRoundTrip(Int32.min, -1, 0, 1, .max)
        try await expectRoundTrip(-(1 << 62) + 1 as Int64, -1, 0, 1, 1 << 62 - 1)
        try await expectRoundTrip(-(1 << 62) + 1, -1, 0, 1, 1 << 62 - 1)
        try await expectRoundTrip(
            0, -0.0, .infinity, -.infinity, 0.1 + 0.2, .leastNonzeroMagnitude, .greatestFiniteMagnitude)
        try await expectRoundTrip(UUID(), UUID(uuidString: "00000000-0000-0000-0000-000000000000")!)
        try await expectRoundTrip(PostgresBytes([]), PostgresBytes(Array(0...255)))
        try await expectRoundTrip(
            PostgresTimestamp(microseconds: 0), PostgresTimestamp(microseconds: -1),
            PostgresTimestamp(microseconds: .max),
            PostgresTimestamp(microseconds: .min), PostgresTimestamp(microseconds: 845_240_701_500_000))
    }

    @Test func texts() async throws {
        try await expectRoundTrip(
            "", "plain", "it's \"quoted\" \\ $1", "line\nbreak\ttab", "👩‍👩‍👧‍👦 é e\u{301} 漢字 \u{10FFFF}")
        try await expectRoundTrip(String(repeating: "ä👍", count: 10 << 20 / 6))
    }

    @Test func arrays() async throws {
        try await expectRoundTrip([Int](), [1], [-(1 << 62) + 1, 0, 1 << 62 - 1])
        try await expectRoundTrip([Int32](), [1, -1])
        try await expectRoundTrip(["", "{}", "a,b", "NULL", "\"", "👍"])
        try await expectRoundTrip([true, false], [])
        try await expectRoundTrip([1.5, -.infinity])
        try await expectRoundTrip([UUID(), UUID()])
        try await expectRoundTrip([PostgresBytes([0]), PostgresBytes([])])
        try await expectRoundTrip([PostgresTimestamp(microseconds: 5)])
        try await expectRoundTrip([String?](), [nil], [nil, "", nil, "NULL"])
        try await expectRoundTrip([Int32?](), [nil, 0], [nil, nil])
        try await expectRoundTrip(Array(0..<100_000))
    }

    /// Numbers near the limits of their type are refused, so sums cannot overflow.
    @Test(arguments: ["9223372036854775807", "4611686018427387904", "-4611686018427387904", "-9223372036854775808"])
    func aNumberThatIsTooLargeToAddToIsRefused(_ number: String) async throws {
        try await withConnection { connection in
            let row = try await connection.query(
                "SELECT '\(number)'::bigint AS position, ARRAY['\(number)'::bigint] AS list"
            )
            .only()
            let error = try #require(throws: PostgresError.self) { try row.decode("position", as: Int64.self) }
            #expect(error.kind == .decoding && error.description.contains("position"), "\(error)")
            #expect(throws: PostgresError.self) { try row.decode("position", as: Int64?.self) }
            #expect(throws: PostgresError.self) { try row.decode("position", as: Int.self) }
            #expect(throws: PostgresError.self) { try row.decode("list", as: [Int64].self) }
        }
    }

    @Test func aNotANumberStaysOne() async throws {
        let value: Double = try await withConnection { try await $0.query("SELECT $1", Double.nan).only().decode(0) }
        #expect(value.isNaN)
    }

    /// The server's text form of each value, so that encoder and decoder cannot be wrong in the
    /// same way.
    @Test func theServerReadsParametersAsMeant() async throws {
        try await withConnection { connection in
            let row = try await connection.query(
                """
                SELECT $1::text, $2::text, $3::text, $4::text, $5::text, $6::text, $7::text,
                       ($8 AT TIME ZONE 'UTC')::text, $9::text
                """,
                true, Int32(-7), Int64.min, 0.5, "x", PostgresBytes([1, 255]), [nil, "a b", nil] as [String?],
                PostgresTimestamp(microseconds: 1_500_000), [UUID?]()
            ).only()
            let texts = try (0..<9).map { try row.decode($0, as: String.self) }
            #expect(
                texts == [
                    "true", "-7", "-9223372036854775808", "0.5", "x", #"\x01ff"#, #"{NULL,"a b",NULL}"#,
                    "2000-01-01 00:00:01.5",
                    "{}",
                ])
        }
    }

    @Test func theServersTypesDecode() async throws {
        try await withConnection { connection in
            let row = try await connection.query(
                """
                SELECT 7::smallint AS small, 4000000000::oid AS oid, '{"a": 1}'::json AS json,
                       '{"a":1}'::jsonb AS jsonb,
                       'n'::name AS name, 'c'::char(3) AS char, 'v'::varchar AS varchar, 'text' AS literal,
                       timestamp '2000-01-01 00:00:02' AS local, '{1,NULL,3}'::smallint[] AS \
                smalls, '{{1,2},{3,4}}'::int[] AS square
                """
            ).only()
            #expect(try row.decode("small", as: Int.self) == 7)
            #expect(try row.decode("small", as: Int32.self) == 7)
            #expect(try row.decode("oid", as: Int64.self) == 4_000_000_000)
            #expect(try row.decode("json", as: String.self) == #"{"a": 1}"#)
            #expect(try row.decode("jsonb", as: String.self) == #"{"a": 1}"#)
            #expect(try row.decode("name", as: String.self) == "n")
            #expect(try row.decode("char", as: String.self) == "c  ")
            #expect(try row.decode("varchar", as: String.self) == "v")
            #expect(try row.decode("literal", as: String.self) == "text")
            #expect(try row.decode("local", as: PostgresTimestamp.self).microseconds == 2_000_000)
            #expect(try row.decode("smalls", as: [Int?].self) == [1, nil, 3])
            #expect(throws: PostgresError.self) { try row.decode("square", as: [Int].self) }
        }
    }

    @Test func aMismatchIsAnErrorThatNamesTheColumn() async throws {
        try await withConnection { connection in
            let row = try await connection.query(
                """
                SELECT 2147483648::bigint AS big, 4294967295::oid AS oid, NULL::int AS nothing,
                       'text' AS text, 1.5::numeric AS decimal,
                       '{1,NULL}'::int[] AS holes, \
                '\\x00000001000000000000001780000000000000010000000400000001'::bytea AS fake
                """
            ).only()
            func message<T: PostgresDecodable>(_ column: String, _ type: T.Type) -> String? {
                do throws(PostgresError) {
                    let value = try row.decode(column, as: type)
                    Issue.record("\(column) decodes as \(value)")
                    return nil
                } catch {
                    return error.kind == .decoding ? error.message : nil
                }
            }
            #expect(message("big", Int32.self)?.contains("column big ") == true)
            #expect(message("oid", Int32.self)?.contains("column oid ") == true)
            #expect(message("nothing", Int.self)?.contains("column nothing is null") == true)
            #expect(message("nothing", String.self)?.contains("column nothing is null") == true)
            #expect(message("text", Int.self)?.contains("column text ") == true)
            #expect(message("text", Int?.self)?.contains("column text ") == true)
            #expect(message("decimal", Double.self)?.contains("column decimal ") == true)
            #expect(message("holes", [Int].self)?.contains("column holes ") == true)
            // An array's header with a count of -2147483648.
            #expect(message("fake", [Int].self)?.contains("column fake ") == true)
            #expect(message("absent", Int.self)?.contains("no column absent") == true)
        }
    }

    @Test func onlyWantsExactlyOneRow() async throws {
        try await withConnection { connection in
            for count in [0, 2] {
                let rows = try await connection.query("SELECT generate_series(1, $1)", count)
                #expect(throws: PostgresError.self) { try rows.only() }
            }
            #expect(
                try await connection.query("CREATE TEMP TABLE t AS SELECT generate_series(1, 5) AS n").affected == 5)
            #expect(try await connection.query("UPDATE t SET n = 0 WHERE n > 2").affected == 3)
        }
    }

    @Test func randomTextsRoundTrip() async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let texts = (0..<500).map { _ in
            String(
                String.UnicodeScalarView(
                    (0..<Int.random(in: 0...40, using: &generator)).map { _ in
                        Unicode.Scalar(UInt32.random(in: 1...0x10FFFF, using: &generator)) ?? "\u{FFFD}"
                    }))
        }
        let back: [String] = try await withConnection { try await $0.query("SELECT $1", texts).only().decode(0) }
        #expect(back.map { Array($0.utf8) } == texts.map { Array($0.utf8) }, "seed \(seed)")
    }
}
