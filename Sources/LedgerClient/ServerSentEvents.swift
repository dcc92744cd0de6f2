/// Parses a stream of server-sent events by the HTML standard (9.2.6, «Interpreting an event
/// stream»), however its bytes are split. A plain value, without network.
struct ServerSentEvents: Sendable {
    struct Message: Sendable, Equatable {
        /// The last id that was sent, with this message or before it.
        var id: String
        /// The kind of the message; empty for an event of the log.
        var name = ""
        /// The lines of `data`, joined by line feeds.
        var data: [UInt8]
    }

    /// The maximum number of bytes of one message; a longer one is an error, not an event.
    private static let longest = 64 << 20

    struct TooLong: Error, Sendable {}

    /// The time to wait before reconnecting that the server last asked for, in milliseconds.
    private(set) var retry: Int?
    /// The id of the last complete message, even of one without data: it tells how far the sender
    /// is.
    private(set) var lastID = ""
    private var id = ""
    private var messageName = ""
    private var data: [UInt8] = []
    private var hasData = false
    private var line: [UInt8] = []
    /// A line feed right after a carriage return does not end another line.
    private var hasEndedByReturn = false
    private var isAtStart = true

    /// Adds bytes, and returns the messages that they complete.
    mutating func add(_ bytes: some Sequence<UInt8>) throws(TooLong) -> [Message] {
        var messages: [Message] = []
        for byte in bytes {
            defer { hasEndedByReturn = byte == UInt8(ascii: "\r") }
            switch byte {
            case UInt8(ascii: "\n") where hasEndedByReturn: continue
            case UInt8(ascii: "\n"), UInt8(ascii: "\r"):
                if let message = endLine() { messages.append(message) }
            default:
                line.append(byte)
                guard line.count + data.count <= Self.longest else { throw TooLong() }
            }
        }
        return messages
    }

    private mutating func endLine() -> Message? {
        defer { line.removeAll(keepingCapacity: true) }
        var line = line[...]
        if isAtStart, line.starts(with: [0xEF, 0xBB, 0xBF]) { line = line.dropFirst(3) }
        isAtStart = false
        guard !line.isEmpty else { return dispatch() }
        let name = line.prefix { $0 != UInt8(ascii: ":") }
        var value = line.dropFirst(name.count + 1)
        if value.first == UInt8(ascii: " ") { value = value.dropFirst() }
        switch String(decoding: name, as: UTF8.self) {
        case "data":
            if hasData { data.append(UInt8(ascii: "\n")) }
            data += value
            hasData = true
        case "id" where !value.contains(0): id = String(decoding: value, as: UTF8.self)
        case "event": messageName = String(decoding: value, as: UTF8.self)
        case "retry":
            if value.allSatisfy({ (0x30...0x39).contains($0) }), let time = Int(String(decoding: value, as: UTF8.self))
            {
                retry = time
            }
        // A comment, which has an empty name, or a field of a later version of the standard.
        default: break
        }
        return nil
    }

    private mutating func dispatch() -> Message? {
        lastID = id
        defer { messageName = "" }
        guard hasData else { return nil }
        defer {
            data = []
            hasData = false
        }
        return Message(id: id, name: messageName, data: data)
    }
}
