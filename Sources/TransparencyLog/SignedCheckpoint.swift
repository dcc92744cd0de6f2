import Texts

/// The head of a log with its signatures.
public struct SignedCheckpoint: Sendable, Equatable {
    public let head: TreeHead
    public let note: SignedNote

    /// - Throws: ``Malformed``
    public init(_ text: String) throws(Malformed) {
        note = try SignedNote(text)
        head = try TreeHead(note.text.text)
    }

    package init(_ head: TreeHead, signedBy key: SealKey) throws {
        self.head = head
        note = try key.sign(head)
    }

    public var text: String { note.note }

    /// Checks that the key belongs to the log of this checkpoint, and has signed it.
    /// - Throws: ``NotSigned``
    public func verify(by key: VerifierKey) throws(NotSigned) {
        guard head.origin == key.name else {
            throw NotSigned(description: "the checkpoint is of the log \(head.origin), and the key of \(key.name)")
        }
        guard note.isSigned(byAnyOf: [key]) else {
            throw NotSigned(description: "the checkpoint of \(head.size) entries is not signed by the key \(key)")
        }
    }

    public struct NotSigned: Error, Sendable, CustomStringConvertible {
        public let description: String
    }
}
