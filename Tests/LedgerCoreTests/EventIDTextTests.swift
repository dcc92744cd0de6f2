import Foundation
import LedgerCore
import LedgerTesting
import Testing

@Suite struct EventIDTextTests {
    /// Ids are parsed as Foundation parses them, except that texts which are not the form of a UUID
    /// are refused, though Foundation accepts some of them.
    @Test func textsAreReadAsFoundationReadsThem() {
        let seed = UInt64.random(in: 0...UInt64.max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<2_000 {
            var text = UUID().uuidString
            if random.below(2) == 0 { text = text.lowercased() }
            #expect(EventID(text: text) == UUID(uuidString: text), "\(text); seed \(seed)")
            // One character is replaced, removed or inserted.
            var characters = Array(text)
            let place = Int(random.below(UInt64(characters.count)))
            switch random.below(3) {
            case 0: characters[place] = Array("-0gG xé{")[Int(random.below(8))]
            case 1: characters.remove(at: place)
            default: characters.insert(Array("-0a")[Int(random.below(3))], at: place)
            }
            text = String(characters)
            if let id = EventID(text: text) { #expect(id.text == text.lowercased(), "seed \(seed)") }
        }
        for text in ["", "-", "00000000-0000-0000-0000-00000000000", "00000000-0000-0000-0000-0000000000000"] {
            #expect(EventID(text: text) == nil)
        }
    }
}
