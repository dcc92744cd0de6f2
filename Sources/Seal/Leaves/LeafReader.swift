import LedgerCore
import Postgres
import TransparencyLog

/// Reads events with a binary COPY and hashes them as leaves of the Merkle tree. It hashes the
/// bytes as they come, without making strings or values of them.
///
/// Binary COPY and ``EventLeaf`` encode columns in the same way: the length, then the bytes, with
/// numbers in big-endian. So most columns can be copied from one to the other.
struct LeafReader: Sendable {
    /// An event in the table.
    struct Row: Sendable {
        var position: Position
        var leaf: MerkleHash
        /// Microseconds since 2000.
        var recordedAt: Int64
    }

    /// The prefix and then the bytes of a leaf. Every leaf uses the same buffer.
    private var leaf: [UInt8]
    private let start: Int
    /// The last metadata and its hash: most events have the same metadata as the one before.
    private var metadata: (bytes: [UInt8], hash: MerkleHash)

    init() {
        leaf = [MerkleHash.leafPrefix] + Array(EventLeaf.versionLine.utf8)
        start = leaf.count
        metadata = ([], .plain([]))
    }

    /// A script that copies the events after a position, up to another one.
    ///
    /// It waits for events in a statement of its own, so that the COPY after it sees the events
    /// that came meanwhile.
    /// - Parameter timeout: how long the server waits for the first event; `nil` does not wait.
    static func script(after position: Position, upTo end: Position, timeout: Duration? = nil) -> String {
        let wait = timeout.map {
            "SELECT await_events(\(position), make_interval(secs => \($0 / .milliseconds(1)) / 1000.0), '10 ms'); "
        }
        return (wait ?? "") + """
            COPY (SELECT position, event_id, category, stream_id, version, type, data, metadata, occurred_at,
                         recorded_at, total, completed
                    FROM events
                   WHERE position > \(position) AND position <= \(end)
                   ORDER BY position) TO STDOUT (FORMAT binary)
            """
    }

    /// Hands the rows of a chunk of the COPY to `body`, in order.
    mutating func read(_ chunk: [UInt8], _ body: (Row) throws -> Void) throws {
        try decode(chunk) { row, leaf in
            try body(Row(position: row.position, leaf: .leaf(prefixed: leaf), recordedAt: row.recordedAt))
        }
    }

    /// Hands the bytes of the leaves in a chunk of the COPY to `body`, in order.
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
            // The columns from the event id to the type, with their lengths.
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

    /// Wraps around where the time is too large. No append writes such a time, such as infinity,
    /// but somebody may have changed the table, and verification has to go on.
    private static func sinceUnixEpoch(_ time: PostgresTimestamp) -> Int64 {
        time.microseconds &+ PostgresTimestamp.unixEpochDifference
    }

    private static func present(_ column: Range<Int>?) throws(PostgresError) -> Range<Int> {
        guard let column else { throw .unexpected("an event has a null in a column that cannot have one") }
        return column
    }
}
