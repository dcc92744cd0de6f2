import BlockingIO
import LedgerCore
import PrivateFiles

/// A file of events that somebody remembers, one or more a line. An actor with a thread of its own
/// reads it, because reading may block. Memory holds one part of the file.
actor RememberedFile {
    /// What some consecutive lines tell of.
    struct Part: Sendable {
        var events: [RememberedEvent] = []
        /// The line number of each event.
        var lines: [Int] = []
        var unreadable: [(line: Int, why: String)] = []
        /// Bytes read from the start of the file.
        var bytesRead: Int64 = 0
    }

    private static let mostEvents = 1000
    /// Bytes of lines after which a part ends.
    private static let largePart = 8 << 20

    private let executor = BlockingExecutor(label: "remembered-file")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private var lines: LineReader
    nonisolated let name: String
    nonisolated let size: Int64

    init(_ file: ReadableFile) {
        lines = LineReader(file)
        (name, size) = (file.name, file.size ?? 0)
    }

    /// The next part, limited by the number of its events and by its size; `nil` at the end.
    func next() throws -> Part? {
        var part = Part()
        var (bytes, isAtEnd) = (0, true)
        while part.events.count < Self.mostEvents, bytes < Self.largePart, let line = try lines.next() {
            isAtEnd = false
            bytes += line.length + 1
            guard let content = line.content else {
                part.unreadable.append((line.number, "it has more than \(EventLine.longest) bytes"))
                continue
            }
            do throws(RememberedEvent.Unreadable) {
                let events = try RememberedEvent.all(
                    in: line.number == 1 ? JSONText.behindByteOrderMark(content) : content)
                part.events += events
                part.lines += Array(repeating: line.number, count: events.count)
            } catch {
                part.unreadable.append((line.number, error.description))
            }
        }
        part.bytesRead = lines.bytesRead
        return isAtEnd ? nil : part
    }
}
