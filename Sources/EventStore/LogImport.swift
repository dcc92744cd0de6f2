import Crypto
import Foundation
import LedgerCore
import OffPool
import Postgres

/// Makes a ledger, or the next part of one, of a ``LogFile``: the same positions, versions, ids and times.
///
/// The file is read three times, and none of them keeps more of it than a few megabytes: once to see that it is whole; then what the ledger has already is
/// compared with it, byte for byte, and the rest goes in, a transaction a batch; in the end what went in is read back and compared too. Killed at any
/// moment, it goes on where it was when it is run again.
public struct LogImport: Sendable {
    public struct Receipt: Sendable {
        public let ledger: String
        public let epoch: String
        /// How many events the file has, and how many of them went in now.
        public let events: Int64
        public let imported: Int64
        /// The log's head afterwards.
        public let position: Position
    }

    /// What the functions of the ledger refuse an import with.
    private static let refusal = SQLState("JL020")

    public enum Phase: Sendable { case checking, importing, comparing }

    /// Of lines, by count and by bytes, that go to the server at once.
    private static let mostLines = 5000
    private static let mostBytes = 8 << 20

    private let path: String

    public init(path: String) { self.path = path }

    /// - Parameter progress: told what is done of what; in bytes while the file is checked, in events from then on.
    public func run(
        on connection: PostgresConnection, progress: (Phase, Int64, Int64) async throws -> Void = { _, _, _ in }
    ) async throws -> Receipt {
        let (header, footer) = try await check(progress)
        let head: Position
        do {
            head = try await connection.query("SELECT begin_import($1::uuid, $2)", header.epoch, header.from).only().decode(0)
        } catch let error as PostgresError where error.sqlState == Self.refusal {
            throw LogFile.Refused(description: [error.message, error.hint].compactMap(\.self).joined(separator: "\n  hint: "))
        }
        try await compare(header, from: header.from, to: min(head, header.to), on: connection, progress)
        // What the ledger has beyond the file is none of the file's business.
        if head < header.to {
            try await append(header, after: head, on: connection, progress)
            try await compare(header, from: head + 1, to: header.to, on: connection, progress)
        }
        return Receipt(
            ledger: header.ledger, epoch: header.epoch, events: footer.count, imported: max(0, header.to - head),
            position: max(head, header.to))
    }

    // MARK: The steps

    /// Whether the file is whole: what it says of itself is so.
    private func check(_ progress: (Phase, Int64, Int64) async throws -> Void) async throws -> (LogFile.Header, LogFile.Footer) {
        let lines = try LogLines(path)
        guard let first = try await lines.next(1, 1 << 20)?.first,
            let header = try? JSONDecoder().decode(LogFile.Header.self, from: Data(first.utf8)), header.format == LogFile.format
        else { throw LogFile.Refused(description: "\(path): the first line is not that of a log exported by jobledger export") }
        guard header.version == LogFile.version else {
            throw LogFile.Refused(
                description: "\(path) has version \(header.version) of the format; this program knows \(LogFile.version)")
        }
        var hash = SHA256()
        /// Of the lines that were taken; the first is no event, and the last one is not taken.
        var count: Int64 = -1
        var last = first
        func take(_ line: String) {
            hash.update(data: Data(last.utf8))
            hash.update(data: [0x0A])
            count += 1
            last = line
        }
        while let part = try await lines.next(Self.mostLines, Self.mostBytes) {
            for line in part { take(line) }
            try await progress(.checking, await lines.bytesRead, lines.size)
        }
        guard last != first, let footer = try? JSONDecoder().decode(LogFile.Footer.self, from: Data(last.utf8)) else {
            throw LogFile.Refused(
                description: "\(path) ends without its last line, which counts the events: it is not whole. Nothing was imported."
            )
        }
        guard footer.sha256 == LogFile.hexadecimal(hash.finalize()), footer.count == count, header.to - header.from + 1 == count
        else {
            throw LogFile.Refused(
                description:
                    "\(path) is not what was exported: its last line does not fit what stands before it. Nothing was imported.")
        }
        return (header, footer)
    }

    /// Whether the ledger has the same events as the file, byte for byte.
    private func compare(
        _ header: LogFile.Header, from: Position, to: Position, on connection: PostgresConnection,
        _ progress: (Phase, Int64, Int64) async throws -> Void
    ) async throws {
        guard from <= to else { return }
        let lines = try LogLines(path)
        try await lines.skip(Int(from - header.from) + 1)
        var position = from
        /// Of the ledger, what was not compared yet.
        var rest: [UInt8] = []
        for try await chunk in connection.copyOut(LogFile.copy(from: from, to: to)) {
            // Chunks end at a line's end.
            rest = chunk
            while !rest.isEmpty {
                let bytes = try await lines.bytes(rest.count)
                guard !bytes.isEmpty, rest.starts(with: bytes) else {
                    let same = zip(bytes, rest).prefix { $0 == $1 }
                    let place = position + Int64(same.count { $0.0 == 0x0A })
                    throw LogFile.Refused(
                        description:
                            "at position \(place) the ledger has another event than the file: it is not a copy of the same log, or has gone its own way"
                    )
                }
                rest.removeFirst(bytes.count)
                position += Int64(bytes.count { $0 == 0x0A })
            }
            try await progress(.comparing, position - header.from, header.to - header.from + 1)
        }
        guard position == to + 1 else { throw LogFile.Refused(description: "the ledger ends at \(position - 1), not at \(to)") }
    }

    private func append(
        _ header: LogFile.Header, after head: Position, on connection: PostgresConnection,
        _ progress: (Phase, Int64, Int64) async throws -> Void
    ) async throws {
        let lines = try LogLines(path)
        try await lines.skip(Int(head - header.from) + 2)
        var position = head
        while position < header.to,
            let part = try await lines.next(min(Self.mostLines, Int(header.to - position)), Self.mostBytes)
        {
            do {
                position = try await connection.query("SELECT import_events($1)", part).only().decode(0)
            } catch let error as PostgresError where error.kind == .server && !error.isRetriable {
                throw LogFile.Refused(
                    description:
                        "\(error.message)\n  Everything up to position \(position) is imported; nothing of what was refused is.")
            }
            try await progress(.importing, position - header.from + 1, header.to - header.from + 1)
        }
    }
}

/// A file's lines, some at a time, or its bytes; read on a thread of its own, for reading may block.
private actor LogLines {
    private let executor = BlockingExecutor(label: "log-file")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// The longest line that an event can have: data and metadata at their limits, with each byte escaped.
    private static let longest = 20 << 20

    private let handle: FileHandle
    let size: Int64
    private(set) var bytesRead: Int64 = 0
    private var buffer = Data()

    init(_ path: String) throws {
        guard let handle = FileHandle(forReadingAtPath: path),
            let size = (try? FileManager.default.attributesOfItem(atPath: path))?[.size] as? Int64
        else { throw LogFile.Refused(description: "\(path) cannot be read; a file is needed, for it is read several times") }
        self.handle = handle
        self.size = size
    }

    deinit { try? handle.close() }

    /// Reads on. What was taken from the buffer's front goes: a slice that grows would keep it.
    private func fill() throws -> Bool {
        guard let chunk = try handle.read(upToCount: 1 << 20), !chunk.isEmpty else { return false }
        bytesRead += Int64(chunk.count)
        var grown = Data(capacity: buffer.count + chunk.count)
        grown.append(buffer)
        grown.append(chunk)
        buffer = grown
        return true
    }

    /// The next line's end in the buffer, behind its line feed; `nil` at the end of the file.
    private func lineEnd() throws -> Data.Index? {
        var searched = buffer.startIndex
        while true {
            if let end = buffer[searched...].firstIndex(of: 0x0A) { return end + 1 }
            searched = buffer.endIndex
            guard buffer.count <= Self.longest else {
                throw LogFile.Refused(description: "a line is longer than any event can be")
            }
            let length = buffer.count
            guard try fill() else {
                guard length == 0 else { throw LogFile.Refused(description: "the file ends within a line: it is not whole") }
                return nil
            }
            searched = buffer.startIndex + length
        }
    }

    /// The next lines without their line feeds; `nil` at the end.
    func next(_ mostLines: Int, _ mostBytes: Int) throws -> [String]? {
        var lines: [String] = []
        var bytes = 0
        while lines.count < mostLines, bytes < mostBytes, let end = try lineEnd() {
            let line = buffer[buffer.startIndex..<(end - 1)]
            guard let text = String(data: line, encoding: .utf8) else {
                throw LogFile.Refused(description: "a line is not UTF-8")
            }
            lines.append(text)
            bytes += line.count
            buffer = buffer[end...]
        }
        return lines.isEmpty ? nil : lines
    }

    func skip(_ lines: Int) throws {
        for _ in 0..<lines {
            guard let end = try lineEnd() else { return }
            buffer = buffer[end...]
        }
    }

    /// The next bytes, as many as wanted or fewer; none at the end.
    func bytes(_ most: Int) throws -> [UInt8] {
        if buffer.isEmpty, try !fill() { return [] }
        let part = buffer.prefix(most)
        buffer = buffer.dropFirst(part.count)
        return Array(part)
    }
}
