import Foundation
public import Texts

/// A text with signatures. The format is C2SP's signed-note.
public struct SignedNote: Sendable, Equatable {
    public struct Signature: Sendable, Equatable {
        public var name: ExactText
        public var keyID: UInt32
        public var bytes: [UInt8]

        public init(name: ExactText, keyID: UInt32, bytes: [UInt8]) {
            self.name = name
            self.keyID = keyID
            self.bytes = bytes
        }

        var line: String { "— \(name) \(Base64.text(keyID.bigEndianBytes + bytes))\n" }
    }

    /// The signed text. Each line of it ends with a line feed.
    public var text: ExactText
    public var signatures: [Signature]

    /// The most bytes of a note that is read. Notes of a log are far smaller.
    public static let mostBytes = 1 << 20

    public init(text: ExactText, signatures: [Signature]) {
        self.text = text
        self.signatures = signatures
    }

    /// The whole note.
    public var note: String { text.text + "\n" + signatures.map(\.line).joined() }

    /// - Throws: ``Malformed``
    public init(_ note: String) throws(Malformed) {
        guard note.utf8.count <= Self.mostBytes else { throw Malformed("a note of more than \(Self.mostBytes) bytes") }
        guard note.unicodeScalars.allSatisfy({ $0.value >= 0x20 || $0 == "\n" }) else {
            throw Malformed("a note has no control characters but line feeds")
        }
        // The signatures come after the last empty line.
        guard let gap = note.range(of: "\n\n", options: [.backwards, .literal]), note.hasSuffix("\n") else {
            throw Malformed("a note is a text, an empty line and signatures")
        }
        let lines = note[gap.upperBound...].split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        guard !lines.isEmpty else { throw Malformed("the note is not signed") }
        var signatures: [Signature] = []
        for line in lines { signatures.append(try Self.signature(line)) }
        self.init(text: ExactText(note[..<gap.lowerBound] + "\n"), signatures: signatures)
    }

    private static func signature(_ line: Substring) throws(Malformed) -> Signature {
        let parts = line.split(separator: " ", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "—", VerifierKey.isName(parts[1]), let bytes = Base64.bytes(parts[2]),
            bytes.count > 4
        else { throw Malformed("a signature line must be: — NAME BASE64") }
        return Signature(
            name: ExactText(parts[1]), keyID: UInt32(bigEndianBytes: bytes.prefix(4)), bytes: Array(bytes.dropFirst(4)))
    }

    /// Whether one of these keys has signed. A false signature in the name of one of them makes the
    /// whole note unsigned; signatures of other keys are ignored.
    public func isSigned(byAnyOf keys: [VerifierKey]) -> Bool {
        var isSigned = false
        for signature in signatures {
            guard let key = keys.first(where: { $0.name == signature.name && $0.id == signature.keyID }) else {
                continue
            }
            guard key.verifies(signature.bytes, of: text) else { return false }
            isSigned = true
        }
        return isSigned
    }
}

extension UInt32 {
    var bigEndianBytes: [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: self >> (24 - 8 * $0)) } }

    init(bigEndianBytes bytes: some Sequence<UInt8>) { self = bytes.reduce(0) { $0 << 8 | UInt32($1) } }
}
