import BlockingIO
import LedgerCore
import PrivateFiles

/// A file of events, read and parsed on a thread of its own, for reading may block.
actor EventFile {
    /// What some lines ask for.
    struct Part: Sendable {
        var requests: [AppendRequest] = []
        /// By request, the number of its line.
        var lines: [Int] = []
        var refused: [(line: Int, refusal: Refusal)] = []
        /// Of the whole file, up to here.
        var bytesRead: Int64 = 0
    }

    private let executor = BlockingExecutor(label: "event-file")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
    private var lines: LineReader

    init(_ file: ReadableFile) { lines = LineReader(file) }

    /// The next thousand requests, or some megabytes of them; `nil` at the end.
    func next() throws -> Part? {
        var part = Part()
        var (bytes, isAtEnd) = (0, true)
        while part.requests.count < 1000, bytes < 8 << 20, let line = try lines.next() {
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

/// The lines of a file, one at a time: memory holds one line, and no more of it than an event can
/// have.
struct LineReader {
    private let file: ReadableFile
    private var buffer: [UInt8] = []
    private var start = 0
    private var isAtEnd = false
    private var number = 0
    private(set) var bytesRead: Int64 = 0

    init(_ file: ReadableFile) { self.file = file }

    /// - Returns: `content` is `nil` where the line is longer than an event can be; it has been
    ///   skipped.
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
