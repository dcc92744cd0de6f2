import Crypto
import LedgerCore
import Postgres

/// The message authentication code that tells the ledger's relay from anybody else. Its key is
/// derived from a secret in the ledger, which relays and readers may read.
///
/// A message is a JSON object, and the code is its last member: `"mac"`, the first 16 bytes of
/// HMAC-SHA256 over the object without that member, in hex. RFC 2104 recommends at least half of
/// the hash, and nobody guesses 128 bits by sending messages. The key is derived from the ledger's
/// secret, name and epoch, so a message is worthless in another ledger or another epoch. The
/// message itself names its stream.
struct MessageCode: Sendable {
    /// The ledger's secret, and the epoch in which it is used.
    private let secret: [UInt8]
    private let ledger: LedgerName
    let epoch: EventID
    /// The key, padded for the two halves of HMAC (RFC 2104), one block of the hash each. ``HMAC``
    /// itself copies the state of a hash several times per message, which took as long as hashing.
    private let innerPad: [UInt8]
    private let outerPad: [UInt8]

    private static let opening = Array(#","mac":""#.utf8)
    private static let closing = Array("\"}".utf8)
    /// In bytes, before hex encoding.
    private static let length = 16
    /// By how many bytes the code lengthens a message.
    static let size = opening.count + 2 * length + 1
    /// A longer message, in bytes, is rejected before hashing. No message of a relay comes near it:
    /// data of more than 64 KiB does not go through Redis, and the rest of an event is far smaller.
    static let longestMessage = 1 << 20

    init(secret: [UInt8], ledger: LedgerName, epoch: EventID) {
        (self.secret, self.ledger, self.epoch) = (secret, ledger, epoch)
        let name = Array("\(ledger.text) \(epoch.text)".utf8)
        let key = Array(HMAC<SHA256>.authenticationCode(for: name, using: SymmetricKey(data: secret)))
        let block = key + [UInt8](repeating: 0, count: SHA256.blockByteCount - key.count)
        (innerPad, outerPad) = (block.map { $0 ^ 0x36 }, block.map { $0 ^ 0x5C })
    }

    /// Loads the ledger's current code.
    static func load(of ledger: LedgerName, on connection: PostgresConnection) async throws -> MessageCode {
        let row = try await connection.query("SELECT secret, epoch FROM ledger, feed_key").only()
        return MessageCode(
            secret: try row.decode(0, as: PostgresBytes.self).bytes, ledger: ledger, epoch: try row.decode(1))
    }

    /// Whether it belongs to this secret and epoch.
    func isOf(_ secret: [UInt8], _ epoch: EventID) -> Bool { self.secret == secret && self.epoch == epoch }

    /// Whether each verifies the messages of the other.
    func isSame(as other: MessageCode) -> Bool { isOf(other.secret, other.epoch) }

    /// The code of the same ledger in another epoch.
    func of(_ epoch: EventID) -> MessageCode {
        epoch == self.epoch ? self : MessageCode(secret: secret, ledger: ledger, epoch: epoch)
    }

    /// Appends the code to a JSON object.
    func sign(_ message: inout [UInt8]) {
        let code = code(of: message)
        message.removeLast()
        message += Self.opening
        message += code
        message += Self.closing
    }

    /// The message without its code; `nil` if the code is wrong.
    func verified(_ payload: [UInt8]) -> [UInt8]? {
        let end = payload.count - Self.size - 1
        guard end > 0, payload.count <= Self.longestMessage,
            payload[end..<(end + Self.opening.count)].elementsEqual(Self.opening),
            payload.suffix(2).elementsEqual(Self.closing)
        else { return nil }
        var message = payload
        message.removeSubrange(end...)
        message.append(UInt8(ascii: "}"))
        let given = payload[(end + Self.opening.count)..<(payload.count - 2)]
        // Compare all bytes, so that the time does not reveal how many were right.
        let difference = zip(given, code(of: message)).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) }
        return difference == 0 ? message : nil
    }

    private func code(of message: [UInt8]) -> [UInt8] {
        var (inner, outer) = (SHA256(), SHA256())
        inner.update(data: innerPad)
        inner.update(data: message)
        outer.update(data: outerPad)
        var hex: [UInt8] = []
        hex.reserveCapacity(2 * Self.length)
        // Both pointers are valid: they point into digests that live until the closures return.
        inner.finalize().withUnsafeBytes { outer.update(bufferPointer: $0) }
        outer.finalize().withUnsafeBytes { bytes in
            for byte in bytes.prefix(Self.length) {
                hex.append(Self.digits[Int(byte >> 4)])
                hex.append(Self.digits[Int(byte & 15)])
            }
        }
        return hex
    }

    private static let digits = Array("0123456789abcdef".utf8)
}
