import Testing

@testable import Categories

@Suite struct JSONNumberTests {
    /// Numbers in order; each list is one number in several spellings.
    private static let ordered = [
        ["-1e20"], ["-10.5", "-1.05e1"], ["-10"], ["-9"], ["-0.5", "-5e-1"], ["0", "-0", "0.000", "0e5"],
        ["1e-10", "0.0000000001"], ["0.05"], ["0.5"], ["1", "1.0", "10e-1", "1E0"], ["1.0000000000000000000001"],
        ["9.99"], ["10", "1e1"], ["11"], ["100"], ["9007199254740993"], ["1e20", "100000000000000000000"], ["1e300"],
    ]

    @Test func areComparedExactly() throws {
        for (place, spellings) in Self.ordered.enumerated() {
            for spelling in spellings {
                let number = try #require(JSONNumber(spelling))
                #expect(number == JSONNumber(spellings[0]), "\(spelling)")
                #expect(number.description == JSONNumber(spellings[0])?.description)
                #expect(JSONNumber(number.description) == number, "\(spelling) became \(number)")
                for (otherPlace, others) in Self.ordered.enumerated() {
                    let other = try #require(JSONNumber(others[0]))
                    #expect((number < other) == (place < otherPlace), "\(spelling) and \(others[0])")
                }
            }
        }
    }

    @Test(
        arguments: [("1.0", 1), ("12e2", 1200), ("-3", -3), ("0", 0), ("1.5", nil), ("1e30", nil)] as [(String, Int?)])
    func integers(_ text: String, _ integer: Int?) throws {
        let number = try #require(JSONNumber(text))
        #expect(number.integer == integer)
        #expect(number.isInteger == (text != "1.5"))
    }

    @Test(arguments: ["1e301", "1e-301", "1e99999999999", String(repeating: "1", count: 101)])
    func aNumberOutOfRangeIsNone(_ text: String) { #expect(JSONNumber(text) == nil) }
}
