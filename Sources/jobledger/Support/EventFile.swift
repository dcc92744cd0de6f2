import BlockingIO
import LedgerCore
import PrivateFiles

/// A file of events, one a line. An actor with a thread of its own reads and parses it, because
/// reading may block.
actor EventFile {
    /// The content of some consecutive lines.
    struct Part: Sendable {
        var requests: [AppendRequest] = []
        /// The line number of each request.
        var lines: [Int] = []
        var refused: [(line: Int, refusal: Refusal)] = []
        /// Bytes read from the start of the file.
        var bytesRead: Int64 = 0
    }

    private static let mostRequests = 1000
    /// Bytes of lines after which a part ends.
    private static let largePart = 8 << 20

    private let executor = BlockingExecutor(label: "event-file")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private var lines: LineReader

    init(_ file: ReadableFile) { lines = LineReader(file) }

    /// The next part, limited by the number of its requests and by its size; `nil` at the end.
    func next() throws -> Part? {
        var part = Part()
        var (bytes, isAtEnd) = (0, true)
        while part.requests.count < Self.mostRequests, bytes < Self.largePart, let line = try lines.next() {
            isAtEnd = false
            bytes += line.length + 1
            do throws(Refusal) {
                let content = line.number == 1 ? line.content.map(JSONText.behindByteOrderMark) : line.content
                guard let request = try EventLine.request(content) else { continue }
                part.requests.append(request)
                part.lines.append(line.number)
            } catch {
                part.refused.append((line.number, error))
            }
        }
        part.bytesRead = lines.bytesRead
        return isAtEnd ? nil : part
    }
}

/// The lines of a file, one at a time. Memory holds one line, and of a line that is too long only
/// as much as an event can have.
struct LineReader {
    private let file: ReadableFile
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false
    private var number = 0
    private(set) var bytesRead: Int64 = 0

    init(_ file: ReadableFile) { self.file = file }

    /// The next line; `nil` at the end of the file.
    /// - Returns: `content` is `nil` if the line is longer than any event can be. Such a line is
    ///   skipped. `length` is in bytes.
    mutating func next() throws -> (number: Int, content: ArraySlice<UInt8>?, length: Int)? {
        var length = 0
        var isTooLong = false
        while true {
            if let end = buffer[start...].firstIndex(of: 0x0A) {
                defer { start = end + 1 }
                number += 1
                length += end - start
                return (number, isTooLong ? nil : buffer[start..<end], length)
            }
            if buffer.count - start > EventLine.longest {
                isTooLong = true
                length += buffer.count - start
                start = buffer.count
            }
            if isAtEnd {
                guard start < buffer.count || isTooLong else { return nil }
                defer { start = buffer.count }
                number += 1
                return (number, isTooLong ? nil : buffer[start...], length + buffer.count - start)
            }
            buffer.removeSubrange(..<start)
            start = 0
            let chunk = try file.read(upTo: 1 << 20)
            isAtEnd = chunk.isEmpty
            bytesRead += Int64(chunk.count)
            buffer += chunk
        }
    }
}
