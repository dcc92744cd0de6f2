import Crypto
import LedgerCore
import Postgres

/// What tells a message of the ledger's relay from anybody else's: a code at its end, under a key
/// that lies in the ledger and that relay and readers may read.
///
/// A message is a JSON object, and the code its last member: `"mac"`, the first 16 bytes of
/// HMAC-SHA256 over the object without it, in hex. Half a hash is what RFC 2104 asks for at least,
/// and nobody can guess 128 bits by sending. The key is made of the ledger's secret, name and
/// epoch, so that a message is worth nothing in another ledger, or in another epoch of this one;
/// for which job it is, stands in it.
struct MessageCode: Sendable {
    /// The ledger's secret, and where it holds.
    private let secret: [UInt8]
    let epoch: EventID
    /// The key as the two halves of HMAC take it (RFC 2104), a block of the hash each. ``HMAC``
    /// itself copies the state of a hash several times a message, which took as long as the hash.
    private let innerPad: [UInt8]
    private let outerPad: [UInt8]

    private static let opening = Array(#","mac":""#.utf8)
    private static let closing = Array("\"}".utf8)
    /// In bytes, before it is spelled out.
    private static let length = 16
    /// What a message is longer by; its own closing brace stays.
    static let size = opening.count + 2 * length + 1
    /// A message that is longer is none of ours, and its code is not computed: an event without its
    /// data is far smaller, and data of more than 64 KiB do not go through Redis.
    static let longestMessage = 1 << 20

    init(secret: [UInt8], ledger: LedgerName, epoch: EventID) {
        (self.secret, self.epoch) = (secret, epoch)
        let name = Array("\(ledger.text) \(epoch.text)".utf8)
        let key = Array(HMAC<SHA256>.authenticationCode(for: name, using: SymmetricKey(data: secret)))
        let block = key + [UInt8](repeating: 0, count: SHA256.blockByteCount - key.count)
        (innerPad, outerPad) = (block.map { $0 ^ 0x36 }, block.map { $0 ^ 0x5C })
    }

    /// That of the ledger, as it is now.
    static func load(of ledger: LedgerName, on connection: PostgresConnection) async throws -> MessageCode {
        let row = try await connection.query("SELECT secret, epoch FROM ledger, feed_key").only()
        return MessageCode(
            secret: try row.decode(0, as: PostgresBytes.self).bytes, ledger: ledger, epoch: try row.decode(1))
    }

    /// Whether it is that of this secret and epoch.
    func isOf(_ secret: [UInt8], _ epoch: EventID) -> Bool { self.secret == secret && self.epoch == epoch }

    /// Whether messages of the one are good under the other.
    func isSame(as other: MessageCode) -> Bool { isOf(other.secret, other.epoch) }

    /// Appends the code to a JSON object.
    func sign(_ message: inout [UInt8]) {
        let code = code(of: message)
        message.removeLast()
        message += Self.opening
        message += code
        message += Self.closing
    }

    /// The message without its code; `nil` where the code is not the relay's.
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
        // All bytes are looked at, so that the time does not tell how many were right.
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
        // The views are of hashes that live until the closures return.
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
