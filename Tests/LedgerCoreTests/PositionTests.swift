import LedgerCore
import LedgerTesting
import Testing

@Suite struct PositionTests {
    @Test func onlyDigitsAreAPosition() {
        for text in NumberEnds.noNumbers { #expect(Position(position: text) == nil, "\(text)") }
        #expect(Position(position: "0") == 0 && Position(position: "007") == 7)
        #expect(Position(position: "4611686018427387903") == Position.positions.upperBound)
        for text in ["4611686018427387904", "9223372036854775807", "-1", "18446744073709551616"] {
            #expect(Position(position: text) == nil, "\(text)")
        }
    }

    /// Sums and differences of positions never overflow.
    @Test func arithmeticOnPositionsExists() {
        let ends = NumberEnds.all.compactMap { Position(position: $0) }
        #expect(ends.count > 10)
        for a in ends {
            for b in ends {
                for (sum, overflows) in [
                    a.addingReportingOverflow(b), a.subtractingReportingOverflow(b), (a + b).addingReportingOverflow(1),
                    (a - b).subtractingReportingOverflow(1),
                ] { #expect(!overflows, "\(a), \(b): \(sum)") }
            }
        }
    }

    @Test func decimalNumbersFitTheirType() {
        #expect(
            Int32(decimal: "-2147483648") == .min && Int32(decimal: "2147483648") == nil && Int32(decimal: "+1") == nil)
        for text in NumberEnds.numbers { #expect(Int64(decimal: text) == Int64(text), "\(text)") }
        for text in NumberEnds.noNumbers { #expect(Int64(decimal: text) == nil, "\(text)") }
    }
}
