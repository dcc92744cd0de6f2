import Foundation
import LedgerCore
import LedgerTesting
import Testing

@Suite struct TimestampTests {
    @Test(arguments: [
        ("1970-01-01T00:00:00Z", 0, "1970-01-01T00:00:00Z"),
        ("1970-01-01t00:00:00z", 0, "1970-01-01T00:00:00Z"),
        ("1970-01-01 00:00:00Z", 0, "1970-01-01T00:00:00Z"),
        ("1970-01-01T00:00:00.5Z", 500_000, "1970-01-01T00:00:00.5Z"),
        ("1970-01-01T00:00:00.000001Z", 1, "1970-01-01T00:00:00.000001Z"),
        ("1970-01-01T00:00:00.0000019Z", 1, "1970-01-01T00:00:00.000001Z"),
        ("1970-01-01T00:00:00.120000000000000000000000000000Z", 120_000, "1970-01-01T00:00:00.12Z"),
        ("1969-12-31T23:59:59.999999Z", -1, "1969-12-31T23:59:59.999999Z"),
        ("1970-01-01T00:00:00+01:00", -3_600_000_000, "1969-12-31T23:00:00Z"),
        ("1970-01-01T00:00:00-00:30", 1_800_000_000, "1970-01-01T00:30:00Z"),
        ("1970-01-01T23:59:00+23:59", 0, "1970-01-01T00:00:00Z"),
        ("2026-11-23T21:45:01.5+01:00", 1_795_466_701_500_000, "2026-11-23T20:45:01.5Z"),
        ("2000-02-29T00:00:00Z", 951_782_400_000_000, "2000-02-29T00:00:00Z"),
        ("2024-02-29T23:59:59Z", 1_709_251_199_000_000, "2024-02-29T23:59:59Z"),
        ("2024-03-01T00:00:00Z", 1_709_251_200_000_000, "2024-03-01T00:00:00Z"),
        ("2100-03-01T00:00:00Z", 4_107_542_400_000_000, "2100-03-01T00:00:00Z"),
        ("0001-01-01T00:00:00Z", -62_135_596_800_000_000, "0001-01-01T00:00:00Z"),
        ("0000-02-29T00:00:00Z", -62_162_121_600_000_000, "0000-02-29T00:00:00Z"),
        ("9999-12-31T23:59:59.999999Z", 253_402_300_799_999_999, "9999-12-31T23:59:59.999999Z"),
    ])
    func valid(text: String, microseconds: Int64, written: String) throws {
        let timestamp = try #require(Timestamp(text))
        #expect(timestamp.microseconds == microseconds)
        #expect(timestamp.description == written)
    }

    @Test(arguments: [
        "", "now", "2026-11-23", "2026-11-23T20:45:01", "2026-11-23T20:45Z", "2026-11-23T20:45:01.Z",
        "2026-11-23T20:45:01,5Z",
        "2026-11-23T20:45:01+0100", "2026-11-23T20:45:01+01", "2026-11-23T20:45:01+24:00", "2026-11-23T20:45:01+01:60",
        "2026-11-23T20:45:01Z ", " 2026-11-23T20:45:01Z", "2026-11-23T20:45:01ZZ", "2026-11-23T20:45:01+",
        "26-11-23T20:45:01Z",
        "2026-00-23T20:45:01Z", "2026-13-23T20:45:01Z", "2026-11-00T20:45:01Z", "2026-11-31T20:45:01Z",
        "2026-02-29T20:45:01Z",
        "2100-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-11-23T24:00:00Z", "2026-11-23T20:60:01Z",
        "2026-11-23T20:45:60Z",
        "+026-11-23T20:45:01Z", "-001-11-23T20:45:01Z", "10000-01-01T00:00:00Z", "2026-1-23T20:45:01Z",
        "２０26-11-23T20:45:01Z",
        "2026-11-23T20:45:01\u{2212}01:00", "2026-11-23T20:45:01Z\0",
    ])
    func invalid(text: String) { #expect(Timestamp(text) == nil) }

    /// The error tells the writer of a wrong time what is missing.
    @Test(arguments: [
        ("yesterday", "such as 2026-11-23T20:45:00Z, not \"yesterday\""), ("2026-11-23T20:45:00", "add the time zone"),
        ("2026-11-23 20:45:00.5", "add the time zone"), ("2026-11-23T20:45:00 01:00", "a + is a space"),
        (String(repeating: "9", count: 1000), "999…"),
    ])
    func theProblemIsNamed(_ text: String, _ says: String) {
        #expect(Timestamp(text) == nil)
        let problem = Timestamp.problem(with: text)
        #expect(problem.contains(says) && problem.count < 200, "\(problem)")
    }

    @Test func everyMomentOfTheCalendarRoundTrips() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        let all: ClosedRange<Int64> = -62_167_219_200_000_000...253_402_300_799_999_999
        for _ in 0..<20_000 {
            let timestamp = Timestamp(microseconds: Int64.random(in: all, using: &generator))
            #expect(Timestamp(timestamp.description) == timestamp, "seed \(seed): \(timestamp)")
        }
    }

    /// Foundation's calendar is an independent implementation.
    @Test func foundationAgrees() throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        // From 1600 on: Foundation's calendar is Julian before 1582.
        for _ in 0..<2_000 {
            let seconds = Int64.random(in: -11_676_096_000...253_402_300_799, using: &generator)
            let date = Date(timeIntervalSince1970: Double(seconds))
            #expect(
                Timestamp(microseconds: seconds * 1_000_000).description == date.formatted(.iso8601), "seed \(seed)")
        }
    }

    @Test func orderIsThatOfTime() throws {
        #expect(try #require(Timestamp("2026-01-01T00:30:00+01:00")) < #require(Timestamp("2026-01-01T00:00:00Z")))
    }

    /// Times of the database beyond four-digit years cannot be written in RFC 3339. They become the
    /// nearest time that can be written, and read again.
    @Test func timesBeyondTheCalendar() {
        let (first, last) = ("0000-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z")
        for (microseconds, text) in [
            (Int64.max, last), (253_402_300_800_000_000, last), (253_402_300_799_999_999, last),
            (-62_167_219_200_000_000, first), (-62_167_219_200_000_001, first), (.min, first),
        ] {
            let timestamp = Timestamp(microseconds: microseconds)
            #expect(timestamp.description == text && Timestamp(text) == timestamp, "\(microseconds)")
        }
        #expect(Timestamp(microseconds: .max).microseconds - Timestamp(microseconds: .min).microseconds > 0)
        // A zone may move the time out of these years.
        #expect(Timestamp("9999-12-31T23:59:59-23:59") == nil && Timestamp("0000-01-01T00:00:00+23:59") == nil)
    }
}
