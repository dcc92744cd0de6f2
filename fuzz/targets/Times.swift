import LedgerCore

/// Times, numbers and ids in text.
func fuzzTimes(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    if let time = Timestamp(text) {
        expect(Timestamp(time.description) == time, "\(time) is another time when it is read again")
    }
    _ = Timestamp.problem(with: text)
    if let position = Position(position: text) {
        expect(
            Position.positions.contains(position) && Position(position: "\(position)") == position,
            "\(position) is no position")
    }
    if let id = EventID(text: text) { expect(id.text == text.lowercased(), "\(id)") }
    if let name = LedgerName(text) { expect(name.text == text, "\(name)") }
    if bytes.count >= 8 {
        let number = bytes.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) }
        let time = Timestamp(microseconds: number)
        expect(Timestamp(time.description) == time, "\(number) microseconds are \(time)")
    }
}
