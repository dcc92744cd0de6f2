import Testing

@testable import LedgerClient

@Suite struct ServerSentEventsTests {
    private static func parse(_ text: String, cut: Int) throws -> [ServerSentEvents.Message] {
        var parser = ServerSentEvents()
        var rest = Array(text.utf8)[...]
        var messages: [ServerSentEvents.Message] = []
        while !rest.isEmpty {
            messages += try parser.add(rest.prefix(cut))
            rest = rest.dropFirst(cut)
        }
        return messages
    }

    private static func message(_ id: String, _ data: String, name: String = "") -> ServerSentEvents.Message {
        ServerSentEvents.Message(id: id, name: name, data: Array(data.utf8))
    }

    /// The standard's own examples and the special cases of its rules, however the bytes are split.
    @Test(arguments: [1, 2, 3, 7, 1000])
    func followsTheStandard(_ cut: Int) throws {
        let cases: [(String, [ServerSentEvents.Message])] = [
            ("data: a\n\n", [Self.message("", "a")]),
            ("\u{FEFF}data: a\n\n", [Self.message("", "a")]),
            ("data:a\r\rdata: b\r\n\r\n", [Self.message("", "a"), Self.message("", "b")]),
            ("data: YHOO\ndata: +2\ndata: 10\n\n", [Self.message("", "YHOO\n+2\n10")]),
            (
                ": c\n\ndata: 1\nid: 1\n\ndata:2\nid\n\ndata:  3\n\n",
                [Self.message("1", "1"), Self.message("", "2"), Self.message("", " 3")]
            ),
            ("id: 7\n\ndata: x\n\n", [Self.message("7", "x")]),
            ("data\n\ndata\ndata\n\ndata:", [Self.message("", ""), Self.message("", "\n")]),
            ("event: e\ndata: 1\n\ndata: 2\n\n", [Self.message("", "1", name: "e"), Self.message("", "2")]),
            ("event: e\nother: o\nretry: x\ndata: d\n\n", [Self.message("", "d", name: "e")]),
            ("data: not ended\n", []),
            ("id: a\u{0}b\ndata: d\n\n", [Self.message("", "d")]),
            ("data: ü🙂\n\n", [Self.message("", "ü🙂")]),
        ]
        for (text, messages) in cases {
            #expect(try Self.parse(text, cut: cut) == messages, "\(text.debugDescription)")
        }
    }

    @Test func remembersWhenToReconnect() throws {
        var parser = ServerSentEvents()
        _ = try parser.add("retry: 1500\n\nretry: -1\nretry:\nretry: +2\nretry: 99999999999999999999\n\n".utf8)
        #expect(parser.retry == 1500)
    }
}
