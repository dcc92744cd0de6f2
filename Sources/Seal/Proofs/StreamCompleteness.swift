package import EventStore
package import LedgerCore
import Postgres
package import TransparencyLog

/// Shows which events a stream has, and that no other event belongs to it. It checks the whole log
/// against the seal, and then looks for the stream in every event.
///
/// It uses no index for that: an index may be wrong, or somebody may have changed it.
package struct StreamCompleteness: Sendable {
    package struct Answer: Sendable, Equatable {
        /// The events up to this position were compared with the seal.
        package var sealed: Position
        /// The number of events of the stream among them.
        package var events: Int
        /// Whether the last of them is the end of the stream. For another category than that of
        /// jobs the rules that the ledger has now say so, which the seal does not cover.
        package var isWhole: Bool
    }

    /// Why it cannot be shown which events the stream has.
    package struct NotComplete: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    private let store: EventStore
    private let key: VerifierKey?

    /// - Parameter key: the key that must have signed; with `nil` no signature is checked.
    package init(_ store: EventStore, key: VerifierKey?) {
        self.store = store
        self.key = key
    }

    /// - Throws: ``NotComplete`` where an event was altered, added, moved or removed, or where the
    ///   versions do not count from 1.
    package func check(_ stream: StreamKey) async throws -> Answer {
        let verified = try await SealVerification(store, key: key).run()
        guard verified.isClean, verified.position > 0 else {
            let finding = verified.findings.first?.message ?? ""
            throw NotComplete(
                description: verified.position == 0
                    ? "nothing is sealed, so nothing can be shown"
                    : "the log is not what was sealed (\(finding)); jobledger audit verify names every event")
        }
        let events = try await events(of: stream, upTo: verified.position)
        for (version, event) in zip(Int32(1)..., events) where event.version != version {
            throw NotComplete(
                description: "position \(event.position) has version \(event.version) of the \(stream.category), "
                    + "where version \(version) should be")
        }
        let isWhole = if let last = events.last { try await isEnd(last.type, of: stream.category) } else { false }
        return Answer(sealed: verified.position, events: events.count, isWhole: isWhole)
    }

    /// Makes the planner read every row of the table, whatever its indexes say.
    private static let avoidIndexes = """
        SET LOCAL enable_indexscan = off;
        SET LOCAL enable_bitmapscan = off;
        SET LOCAL enable_indexonlyscan = off
        """

    private static func select(_ category: Category) -> String {
        """
        SELECT position, version, type FROM events
         WHERE category = \(category.sql) AND stream_id = $1 AND position <= $2
         ORDER BY position
        """
    }

    private func isEnd(_ type: String, of category: Category) async throws -> Bool {
        guard let type = EventType(rawValue: type) else { return false }
        return try await store.pool.withConnection { try await $0.ends(type, of: category) }
    }

    private func events(
        of stream: StreamKey, upTo position: Position
    ) async throws -> [(position: Position, version: Int32, type: String)] {
        try await store.pool.withConnection { connection in
            try await connection.transaction(.repeatableRead, readOnly: true) { connection in
                try await connection.execute(script: Self.avoidIndexes)
                return try await connection.query(Self.select(stream.category), stream.id, position).map {
                    (try $0.decode(0), try $0.decode(1), try $0.decode(2))
                }
            }
        }
    }
}
