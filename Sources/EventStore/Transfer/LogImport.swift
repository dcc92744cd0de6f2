import BlockingIO
import Crypto
package import LedgerCore
package import Postgres
import PrivateFiles

/// Imports a ``LogFile`` into a ledger: a new one, or the next part of one. Events keep their
/// positions, versions, ids and times.
///
/// The file is read three times, each time with a few megabytes of memory. The first pass checks
/// that the file is complete. The second compares, byte for byte, the events that the ledger
/// already has. The third imports the rest, one transaction per batch; the ledger reads each batch
/// back and compares it before it commits. If the import is killed, another run continues where it
/// stopped.
package struct LogImport: Sendable {
    package struct Receipt: Sendable {
        package let ledger: String
        package let epoch: String
        /// How many events the file has, and how many of them were imported now.
        package let events: Int64
        package let imported: Int64
        /// The log's head afterwards.
        package let position: Position
    }

    /// The SQLSTATE with which the ledger's functions refuse an import.
    private static let refusal = SQLState("JL020")

    package enum Phase: Sendable { case checking, importing, comparing }

    /// The most lines in one batch; fewer if they are long.
    private static let mostLines = 2000

    private static let beginImport = "SELECT begin_import($1::uuid, $2, $3)"
    /// Lines are separated by line feeds, which a line has none of.
    private static let importEvents = "SELECT import_events(string_to_array($1, E'\\n'))"
    /// OFFSET 0 keeps the planner from removing the call of `begin_import`.
    private static let beginAndImportEvents =
        importEvents + " FROM (SELECT begin_import($2::uuid, $3, $4) OFFSET 0) AS begun"

    private let path: String

    package init(path: String) { self.path = path }

    /// - Parameters:
    ///   - connections: one, or two, which is faster.
    ///   - progress: receives the phase, how much is done, and the total: in bytes while the file
    ///     is checked, in events after that.
    package func run(
        on connections: PostgresConnection..., progress: (Phase, Int64, Int64) async throws -> Void = { _, _, _ in }
    ) async throws -> Receipt {
        let connection = connections[0]
        let (header, footer) = try await check(progress)
        let log = try LogHead(try await connection.query(LogHead.sql))
        // The source may have begun an epoch since the last part. An event that both have shows it.
        let mayContinue = EventID(text: header.epoch) != log.epoch && log.position > 0 && header.from <= header.to
        // An early check, which writes nothing. The first transaction that writes checks the same
        // again.
        let head = try await connection.discardedTransaction {
            try await begin(header, isCompared: mayContinue, on: $0)
        }
        do {
            try await compareWhatIsBefore(header, head: head, on: connection)
            try await compare(header, from: header.from, to: min(head, header.to), on: connection, progress)
        } catch let difference as LogFile.Refused {
            // Of a file of another epoch, the ledger says that it is another log.
            if mayContinue { _ = try await begin(header, isCompared: false, on: connection) }
            throw difference
        }
        // The ledger may have more events than the file.
        if head < header.to {
            try await append(header, after: head, isCompared: mayContinue, on: connections, progress)
        } else {
            // Also for a file without events, which sets the epoch of an empty ledger.
            _ = try await begin(header, isCompared: mayContinue, on: connection)
        }
        return Receipt(
            ledger: header.ledger, epoch: header.epoch, events: footer.count, imported: max(0, header.to - head),
            position: max(head, header.to))
    }

    private func begin(
        _ header: LogFile.Header, isCompared: Bool, on connection: PostgresConnection
    ) async throws -> Position {
        try await refusing {
            try await connection.query(Self.beginImport, header.epoch, header.from, isCompared).only().decode(0)
        }
    }

    /// Turns the ledger's refusal of an import into a message for the user.
    private func refusing<Value>(_ body: () async throws -> Value) async throws -> Value {
        do {
            return try await body()
        } catch let error as PostgresError where error.sqlState == Self.refusal {
            throw LogFile.Refused(
                description: [error.message, error.hint].compactMap(\.self).joined(separator: "\n  hint: "))
        }
    }

    // MARK: The steps

    /// Checks that the file is complete and unchanged, against its own last line.
    private func check(
        _ progress: (Phase, Int64, Int64) async throws -> Void
    ) async throws -> (LogFile.Header, LogFile.Footer) {
        let lines = try LogLines(path)
        let first = try await lines.next(1)
        let header = try LogFile.header(first?.bytes ?? [], of: path)
        var hash = SHA256()
        hash.update(data: first?.bytes ?? [])
        /// The last line so far. The digest excludes the file's last line.
        var last: ArraySlice<UInt8> = []
        var count: Int64 = -1
        while let part = try await lines.next(Self.mostLines) {
            hash.update(data: last)
            let start = part.bytes.dropLast().lastIndex(of: 0x0A).map { $0 + 1 } ?? 0
            hash.update(data: part.bytes[..<start])
            last = part.bytes[start...]
            count += Int64(part.count)
            try await progress(.checking, await lines.bytesRead, lines.size)
        }
        let footer = try LogFile.footer(last, of: path)
        guard footer.sha256 == hash.finalize().hexadecimal, footer.count == count, header.to - header.from + 1 == count
        else {
            throw LogFile.Refused(
                description: """
                    \(path) is not what was exported: its last line does not match the \
                    lines before it. Nothing was imported.
                    """)
        }
        return (header, footer)
    }

    /// Checks that the file continues this log, in case the ledger and the file have no event in
    /// common. Another log may have the same epoch.
    private func compareWhatIsBefore(_ header: LogFile.Header, head: Position, on connection: PostgresConnection)
        async throws
    {
        guard header.from > 1, header.from > head, header.from <= header.to else { return }
        guard let previous = header.previous else {
            throw LogFile.Refused(
                description: """
                    \(path) begins right after the ledger's last event, and does not say which event it continues
                      hint: Export from a position that the ledger has: jobledger export --from \(head)
                    """)
        }
        guard try await LogFile.digest(of: header.from - 1, on: connection) == previous else {
            throw LogFile.Refused(
                description: """
                    at position \(header.from - 1) the ledger has another event than the log of \
                    \(path): the ledger is not a copy of that log, or has diverged from it
                    """)
        }
    }

    /// Checks that the ledger has the same events as the file, byte for byte.
    private func compare(
        _ header: LogFile.Header, from: Position, to: Position, on connection: PostgresConnection,
        _ progress: (Phase, Int64, Int64) async throws -> Void
    ) async throws {
        guard from <= to else { return }
        let lines = try LogLines(path)
        try await lines.skip(Int(from - header.from) + 1)
        var position = from
        /// The ledger's bytes that are not compared yet.
        var rest: [UInt8] = []
        for try await chunk in connection.copyOut(LogFile.copy(from: from, to: to)) {
            // A chunk ends at the end of a line.
            rest = chunk
            while !rest.isEmpty {
                let bytes = try await lines.bytes(rest.count)
                guard !bytes.isEmpty, rest.starts(with: bytes) else {
                    let same = zip(bytes, rest).prefix { $0 == $1 }
                    let place = position + Int64(same.count { $0.0 == 0x0A })
                    throw LogFile.Refused(
                        description: """
                            at position \(place) the ledger has another event than the file: \
                            it is not a copy of the same log, or has diverged from it
                            """)
                }
                rest.removeFirst(bytes.count)
                position += Int64(bytes.count { $0 == 0x0A })
            }
            try await progress(.comparing, position - header.from, header.to - header.from + 1)
        }
        guard position == to + 1 else {
            throw LogFile.Refused(description: "the ledger ends at \(position - 1), not at \(to)")
        }
    }

    /// Imports the rest. With two connections each has a batch under way: the server checks one
    /// while it writes the other, and keeps their order.
    private func append(
        _ header: LogFile.Header, after head: Position, isCompared: Bool, on connections: [PostgresConnection],
        _ progress: (Phase, Int64, Int64) async throws -> Void
    ) async throws {
        let lines = try LogLines(path)
        try await lines.skip(Int(head - header.from) + 2)
        var wanted = Int(header.to - head)
        func next() async throws -> String? {
            guard let part = try await lines.next(min(Self.mostLines, wanted)), part.count > 0 else { return nil }
            wanted -= part.count
            guard let text = String(utf8: part.bytes.dropLast()) else {
                throw LogFile.Refused(description: "a line is not UTF-8")
            }
            return text
        }
        do {
            // The first batch is sent alone, because an empty ledger takes the file's epoch
            // together with its first events.
            if let text = try await next() {
                let position: Position = try await connections[0].query(
                    Self.beginAndImportEvents, text, header.epoch, header.from, isCompared
                ).only().decode(0)
                try await progress(.importing, position - header.from + 1, header.to - header.from + 1)
            }
            try await withThrowingTaskGroup(of: (PostgresConnection, Position).self) { group in
                func send(on connection: PostgresConnection) async throws {
                    guard let text = try await next() else { return }
                    group.addTask {
                        (connection, try await connection.query(Self.importEvents, text).only().decode(0))
                    }
                }
                for connection in connections { try await send(on: connection) }
                while let (connection, position) = try await group.next() {
                    try await send(on: connection)
                    try await progress(.importing, position - header.from + 1, header.to - header.from + 1)
                }
            }
        } catch let error as PostgresError where error.kind == .server && !error.isRetriable {
            let position = try await connections[0].headOfLog()
            // Other errors than the ledger's own refusals mean that Postgres could not read a line.
            let reason =
                error.sqlState?.category == "JL"
                ? error.message : "a line is not one that jobledger export writes: \(error.message)"
            throw LogFile.Refused(
                description:
                    "\(reason)\n  Everything up to position \(position) is imported, and nothing of the refused batch.")
        }
    }
}

/// A file's lines or bytes, read in parts. It has its own thread, because reading a file may block.
private actor LogLines {
    /// Whole lines, each with its line feed.
    struct Part: Sendable {
        let bytes: [UInt8]
        let count: Int
    }

    private let executor = BlockingExecutor(label: "log-file")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// How many bytes are read at once. A part ends with the line that exceeds this size.
    private static let chunk = 2 << 20
    /// The longest possible line of an event: data and metadata at their limits, with every byte
    /// escaped.
    private static let longest = 2 * AppendLimits.bytesOfData + (4 << 20)

    private let file: ReadableFile
    let size: Int64
    private(set) var bytesRead: Int64 = 0
    /// Bytes that were read but not returned yet, from `start` on.
    private var buffer: [UInt8] = []
    private var start = 0

    init(_ path: String) throws {
        file = try ReadableFile(path)
        guard let size = file.size else {
            throw LogFile.Refused(
                description: "\(path) is not a regular file. An import reads it several times: save it as a file first")
        }
        self.size = size
    }

    /// Reads more; false at the end of the file.
    private func fill() throws -> Bool {
        buffer.removeSubrange(..<start)
        start = 0
        let read = try file.read(upTo: Self.chunk)
        bytesRead += Int64(read.count)
        buffer += read
        return !read.isEmpty
    }

    /// The next lines, as many as wanted or fewer; `nil` at the end.
    func next(_ mostLines: Int) throws -> Part? {
        var (end, searched, count) = (start, start, 0)
        while count < mostLines, end - start < Self.chunk {
            if let feed = buffer[searched...].firstIndex(of: 0x0A) {
                (end, searched, count) = (feed + 1, feed + 1, count + 1)
            } else if count > 0 {
                break
            } else {
                guard buffer.count - start <= Self.longest else {
                    throw LogFile.Refused(description: "a line is longer than any event can be")
                }
                let rest = buffer.count - start
                guard try fill() else {
                    guard rest == 0 else {
                        throw LogFile.Refused(description: "the file ends within a line: it is incomplete")
                    }
                    return nil
                }
                (end, searched) = (start, start + rest)
            }
        }
        defer { start = end }
        return Part(bytes: Array(buffer[start..<end]), count: count)
    }

    func skip(_ lines: Int) throws {
        var left = lines
        while left > 0, let part = try next(left) { left -= part.count }
    }

    /// The next bytes, as many as wanted or fewer; none at the end.
    func bytes(_ most: Int) throws -> [UInt8] {
        if start == buffer.count, try !fill() { return [] }
        let end = min(buffer.count, start + most)
        defer { start = end }
        return Array(buffer[start..<end])
    }
}
