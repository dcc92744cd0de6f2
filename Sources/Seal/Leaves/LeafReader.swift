import LedgerCore
import Postgres
import TransparencyLog

/// Reads the log as leaves of the Merkle tree, by a binary COPY, and hashes them where they lie: no
/// string, no value an event.
///
/// The columns of a binary COPY are their lengths and then their bytes, with the highest byte of a
/// number first; the encoding of leaves is the same, so that most columns are taken over as they
/// come.
struct LeafReader: Sendable {
    /// An event as it stands in the table.
    struct Row: Sendable {
        var position: Position
        var leaf: MerkleHash
        /// Microseconds since 2000.
        var recordedAt: Int64
    }

    /// The bytes of a leaf behind its prefix. Every leaf uses the buffer again.
    private var leaf: [UInt8]
    private let start: Int
    /// Most events have the metadata of the one before them.
    private var metadata: (bytes: [UInt8], hash: MerkleHash)

    init() {
        leaf = [MerkleHash.leafPrefix] + Array(EventLeaf.versionLine.utf8)
        start = leaf.count
        metadata = ([], .plain([]))
    }

    /// A COPY of the events behind a position, up to another. To wait is a statement of its own:
    /// the next one sees what came meanwhile.
    /// - Parameter timeout: how long the server waits for the first event; `nil` does not wait.
    static func script(after position: Position, upTo end: Position, timeout: Duration? = nil) -> String {
        let wait = timeout.map {
            "SELECT await_events(\(position), make_interval(secs => \($0 / .milliseconds(1)) / 1000.0), '10 ms'); "
        }
        return (wait ?? "") + """
            COPY (SELECT position, event_id, category, stream_id, version, type, data, metadata, occurred_at, recorded_at, total, completed
                    FROM events
                   WHERE position > \(position) AND position <= \(end)
                   ORDER BY position) TO STDOUT (FORMAT binary)
            """
    }

    /// The rows of a chunk of the COPY, in order.
    mutating func read(_ chunk: [UInt8], _ body: (Row) throws -> Void) throws {
        try decode(chunk) { row, leaf in
            try body(Row(position: row.position, leaf: .leaf(prefixed: leaf), recordedAt: row.recordedAt))
        }
    }

    /// The leaves themselves.
    mutating func entries(_ chunk: [UInt8], _ body: (ArraySlice<UInt8>) throws -> Void) throws {
        try decode(chunk) { try body($1.dropFirst()) }
    }

    private mutating func decode(
        _ chunk: [UInt8], _ body: (_ row: (position: Position, recordedAt: Int64), _ prefixed: [UInt8]) throws -> Void
    ) throws {
        var rows = try PostgresBinaryRows(chunk)
        while try rows.next(columns: 12) {
            let position: Position = try rows.column()
            leaf.removeSubrange(start...)
            // From the event's id to its type, with their lengths.
            let first = try Self.present(rows.column())
            for _ in 0..<3 { _ = try Self.present(rows.column()) }
            let last = try Self.present(rows.column())
            leaf += chunk[first.lowerBound - 4..<last.upperBound]
            leaf.append(field: MerkleHash.plain(chunk[try Self.present(rows.column())]))
            leaf.append(field: hash(ofMetadata: chunk[try Self.present(rows.column())]))
            leaf.append(field: (try rows.column() as PostgresTimestamp?).map(Self.sinceUnixEpoch))
            let recordedAt: PostgresTimestamp = try rows.column()
            leaf.append(field: Self.sinceUnixEpoch(recordedAt))
            leaf.append(field: try rows.column() as Int32)
            leaf.append(field: try rows.column() as Int32?)
            try body((position, recordedAt.microseconds), leaf)
        }
    }

    private mutating func hash(ofMetadata bytes: ArraySlice<UInt8>) -> MerkleHash {
        if bytes.elementsEqual(metadata.bytes) { return metadata.hash }
        metadata = (Array(bytes), .plain(bytes))
        return metadata.hash
    }

    /// What an append has never written, but somebody's hand may have, such as infinity, shall not
    /// stop us.
    private static func sinceUnixEpoch(_ moment: PostgresTimestamp) -> Int64 {
        moment.microseconds &+ PostgresTimestamp.unixEpochDifference
    }

    private static func present(_ column: Range<Int>?) throws(PostgresError) -> Range<Int> {
        guard let column else { throw .unexpected("an event with a null where none can be") }
        return column
    }
}
