import Foundation
package import LedgerCore
package import TransparencyLog

/// An event as a leaf of the Merkle tree, in the canonical encoding of docs/audit.md.
///
/// It has every column of the event but the position, which is the place of the leaf in the tree.
/// Data and metadata are in it as hashes, so that both can be withheld, or removed one day, without
/// changing the leaf.
package struct EventLeaf: Sendable, Equatable {
    package var id: EventID
    package var category: String
    package var stream: JobID
    package var version: Int32
    package var type: String
    package var dataHash: MerkleHash
    package var metadataHash: MerkleHash
    package var occurredAt: Timestamp?
    package var recordedAt: Timestamp
    package var total: Int32
    package var completed: Int32?

    package init(
        id: EventID, category: String, stream: JobID, version: Int32, type: String, dataHash: MerkleHash,
        metadataHash: MerkleHash,
        occurredAt: Timestamp?, recordedAt: Timestamp, total: Int32, completed: Int32?
    ) {
        self.id = id
        self.category = category
        self.stream = stream
        self.version = version
        self.type = type
        self.dataHash = dataHash
        self.metadataHash = metadataHash
        self.occurredAt = occurredAt
        self.recordedAt = recordedAt
        self.total = total
        self.completed = completed
    }

    /// The first line of every leaf. Another encoding will have another line.
    static let versionLine = "jobledger/event/v1\n"

    /// The bytes of the leaf, which are an entry of the log.
    package var bytes: [UInt8] {
        var bytes = Array(Self.versionLine.utf8)
        bytes.append(field: withUnsafeBytes(of: id.uuid) { Array($0) }[...])
        bytes.append(field: Array(category.utf8)[...])
        bytes.append(field: Array(stream.utf8)[...])
        bytes.append(field: version)
        bytes.append(field: Array(type.utf8)[...])
        bytes.append(field: dataHash)
        bytes.append(field: metadataHash)
        bytes.append(field: occurredAt?.microseconds)
        bytes.append(field: recordedAt.microseconds)
        bytes.append(field: total)
        bytes.append(field: completed)
        return bytes
    }

    package var hash: MerkleHash { .leaf(bytes) }
}

/// A field is its length in four bytes and then its bytes. Numbers are big-endian. A null has a
/// length of 2³² − 1, which no value has, and no bytes.
extension [UInt8] {
    mutating func append(field bytes: ArraySlice<UInt8>) {
        append(number: UInt32(bytes.count))
        append(contentsOf: bytes)
    }

    mutating func append(field hash: MerkleHash) {
        append(number: UInt32(MerkleHash.size))
        hash.append(to: &self)
    }

    mutating func append<Number: FixedWidthInteger>(field number: Number?) {
        guard let number else { return append(number: UInt32.max) }
        append(number: UInt32(Number.bitWidth / 8))
        append(number: number)
    }

    private mutating func append<Number: FixedWidthInteger>(number: Number) {
        // The bytes of the value are copied inside the closure.
        Swift.withUnsafeBytes(of: number.bigEndian) { append(contentsOf: $0) }
    }
}
