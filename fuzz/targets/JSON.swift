import LedgerCore

/// JSON text, cut up without being decoded.
func fuzzJSON(_ bytes: [UInt8]) {
    if let members = try? JSONText.slices(of: bytes[...]) {
        // A member's value is the slice of the text, and the members written again give the same
        // object.
        var again: [UInt8] = Array("{".utf8)
        for (number, member) in members.enumerated() {
            expect(
                bytes[member.value.indices] == member.value && !member.value.isEmpty, "a value that is not in the text")
            if number > 0 { again.append(UInt8(ascii: ",")) }
            again.appendJSON(string: member.name)
            again.append(UInt8(ascii: ":"))
            again += member.value
        }
        again.append(UInt8(ascii: "}"))
        let second = try? JSONText.slices(of: again[...])
        expect(second?.count == members.count, "an object that changes when it is written again")
        for (one, other) in zip(members, second ?? []) {
            expect(
                Array(one.name.utf8) == Array(other.name.utf8) && one.value.elementsEqual(other.value),
                "a member that changes")
        }
    }
    if let elements = try? JSONText.elements(of: bytes[...]) {
        // The elements follow each other, with something in between.
        var end = 0
        for element in elements {
            expect(element.startIndex > end || element.isEmpty && element.startIndex >= end, "elements that overlap")
            end = element.endIndex
            _ = try? JSONText.slices(of: element)
        }
    }
    if let text = JSONText.string(from: bytes) {
        var literal: [UInt8] = []
        literal.appendJSON(string: text)
        expect(JSONText.string(from: literal).map { Array($0.utf8) } == Array(text.utf8), "a string that changes")
    }
}
