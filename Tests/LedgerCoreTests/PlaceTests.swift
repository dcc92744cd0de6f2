import LedgerCore
import Testing

@Suite struct PlaceTests {
    @Test func namesTheHistory() throws {
        let epoch = try #require(EventID(text: "0F2A9C1E-0000-4000-8000-000000000000"))
        let place = Place(1207, epoch: EpochDigits(epoch))
        #expect(place.text == "1207.0f2a9c1e" && "\(place)" == place.text)
        #expect(Place("1207.0f2a9c1e") == place && Place("1207.0F2A9C1E") == place)
        #expect(Place("1207") == Place(1207) && Place("1207")?.text == "1207" && Place("1207") != place)
        #expect(Place("0.00000000")?.epoch?.text == "00000000")
    }

    @Test(arguments: [
        "", ".", "1207.", ".3f2a9c1e", "-1.3f2a9c1e", "+1.3f2a9c1e", "1207.3f2a9c1", "1207.3f2a9c1e0", "1207.+f2a9c1e",
        "1207.-f2a9c1e", "1207.3f2a9c1g", "1207.3f2a9c1e.", "1207 .3f2a9c1e", "4611686018427387904.3f2a9c1e",
        "1207.３f2a9c1e",
    ])
    func refusesOtherTexts(text: String) { #expect(Place(text) == nil) }
}
