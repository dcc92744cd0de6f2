import EventStore
import Foundation
package import LedgerCore
import Postgres
import TransparencyLog

/// An event with everything that its leaf is made of. A proof carries it, so that whoever checks
/// the proof can read the event.
package struct SealedEvent: Codable, Sendable, Equatable {
    package var position: Position
    package var eventID: String
    package var category: String
    package var streamID: JobID
    package var version: Int32
    package var type: String
    package var occurredAt: String?
    package var recordedAt: String
    package var total: Int32
    package var completed: Int32?
    /// The JSON that was sent, byte for byte; `nil` where it is withheld and ``dataSHA256`` stands
    /// in for it.
    package var data: String?
    package var metadata: String?
    /// In hexadecimal; `nil` unless the text is withheld.
    package var dataSHA256: String?
    package var metadataSHA256: String?

    enum CodingKeys: String, CodingKey, CaseIterable {
        case position, category, version, type, total, completed, data, metadata
        case eventID = "event_id"
        case streamID = "stream_id"
        case occurredAt = "occurred_at"
        case recordedAt = "recorded_at"
        case dataSHA256 = "data_sha256"
        case metadataSHA256 = "metadata_sha256"
    }

    /// - Parameter isWithheld: whether to select hashes instead of data and metadata.
    static func columns(isWithheld: Bool) -> String {
        func both(_ name: String) -> String {
            isWithheld
                ? "null::text AS \(name), encode(sha256(convert_to(\(name)::text, 'UTF8')), 'hex') AS \(name)_sha256"
                : "\(name)::text, null::text AS \(name)_sha256"
        }
        return "position, event_id, category, stream_id, version, type, occurred_at, recorded_at, total, completed, "
            + both("data") + ", " + both("metadata")
    }

    /// - Parameter row: with the columns of ``columns(isWithheld:)``.
    /// - Throws: ``SealDamaged`` where a time of the event cannot be written.
    init(_ row: PostgresRow) throws {
        position = try row.decode(0)
        eventID = try row.decode(1, as: EventID.self).text
        category = try row.decode(2)
        streamID = try row.decode(3)
        version = try row.decode(4)
        type = try row.decode(5)
        let position = position
        func text(_ moment: PostgresTimestamp) throws(SealDamaged) -> String {
            guard let time = Timestamp(exactly: moment) else {
                throw SealDamaged(
                    "the event at position \(position) has a time outside the years 0 to 9999, which a proof cannot "
                        + "express; jobledger audit verify checks it nevertheless")
            }
            return time.description
        }
        occurredAt = try row.decode(6, as: PostgresTimestamp?.self).map(text)
        recordedAt = try text(try row.decode(7))
        total = try row.decode(8)
        completed = try row.decode(9)
        data = try row.decode(10)
        dataSHA256 = try row.decode(11)
        metadata = try row.decode(12)
        metadataSHA256 = try row.decode(13)
    }

    /// - Throws: ``Malformed`` where a member is missing or invalid.
    package var leaf: EventLeaf {
        get throws(Malformed) {
            guard let id = EventID(text: eventID) else { throw Malformed("the event id is not a UUID: \(eventID)") }
            func time(_ text: String) throws(Malformed) -> Timestamp {
                guard let time = Timestamp(text) else { throw Malformed("the event has an invalid time: \(text)") }
                return time
            }
            var occurred: Timestamp?
            if let occurredAt { occurred = try time(occurredAt) }
            return EventLeaf(
                id: id, category: category, stream: streamID, version: version, type: type,
                dataHash: try Self.hash("data", data, dataSHA256),
                metadataHash: try Self.hash("metadata", metadata, metadataSHA256),
                occurredAt: occurred, recordedAt: try time(recordedAt), total: total, completed: completed)
        }
    }

    private static func hash(_ name: String, _ text: String?, _ hex: String?) throws(Malformed) -> MerkleHash {
        switch (text, hex) {
        case (let text?, nil): return .sha256(text)
        case (nil, let hex?):
            guard let hash = MerkleHash(hex: hex) else {
                throw Malformed("\(name)_sha256 is not a SHA-256 in hexadecimal")
            }
            return hash
        default: throw Malformed("an event has either \(name) or \(name)_sha256")
        }
    }

    // MARK: JSON

    /// JSON on one line, with its members in the order of their names.
    var json: [UInt8] {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
            return Array(try encoder.encode(self))
        }
    }

    /// Refuses JSON that readers may understand in different ways, and JSON that says more than the
    /// seal covers: an event must not have a member twice, or one that no event has.
    /// - Throws: ``Malformed``
    init(json: [UInt8]) throws(Malformed) {
        do {
            let members = try JSONText.slices(of: json[...])
            if let name = JSONText.repeatedName(in: members) { throw Malformed("the event has \"\(name)\" twice") }
            let known = Set(CodingKeys.allCases.map { ExactText($0.rawValue) })
            if let name = members.map(\.name).first(where: { !known.contains($0) }) {
                throw Malformed("an event has no member \"\(name)\": the seal does not cover it")
            }
        } catch let malformed as Malformed {
            throw malformed
        } catch {
            throw Malformed("the extra data of the proof is not an event: \(error)")
        }
        do {
            self = try JSONDecoder().decode(SealedEvent.self, from: Data(json))
        } catch {
            throw Malformed("the extra data of the proof is not an event: \(error)")
        }
        guard position > 0, Position.positions.contains(position), version > 0 else {
            throw Malformed("the event's position and version are numbers from 1 on, not \(position) and \(version)")
        }
    }
}

extension MerkleHash {
    static func sha256(_ text: String) -> MerkleHash { .plain(Array(text.utf8)[...]) }
}
