/// Server-sent events: the messages are the same wherever the bytes are cut into pieces.
func fuzzStreams(_ bytes: [UInt8]) {
    func messages(_ pieces: [ArraySlice<UInt8>]) -> ([ServerSentEvents.Message], Int?)? {
        var parser = ServerSentEvents()
        var messages: [ServerSentEvents.Message] = []
        for piece in pieces {
            guard let more = try? parser.add(piece) else { return nil }
            messages += more
        }
        return (messages, parser.retry)
    }
    guard let whole = messages([bytes[...]]) else { return expect(false, "too long") }
    let single = messages(bytes.indices.map { bytes[$0...$0] })
    expect(single?.0 == whole.0 && single?.1 == whole.1, "other messages byte by byte")
    // The first byte says where to cut.
    let cut = min(bytes.count, Int(bytes.first ?? 0))
    let halves = messages([bytes[..<cut], bytes[cut...]])
    expect(halves?.0 == whole.0 && halves?.1 == whole.1, "other messages in two pieces")
    if let retry = whole.1 { expect(retry >= 0, "a wait of \(retry)") }
}
