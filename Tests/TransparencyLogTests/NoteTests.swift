import Testing
import Texts

@testable import TransparencyLog

struct NoteTests {
    /// The example in C2SP's signed-note.
    private static let key = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
    private static let note = """
        This is an example message.

        — example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=

        """

    @Test func knownNote() throws {
        let (note, key) = (try SignedNote(Self.note), try VerifierKey(Self.key))
        #expect(key.description == Self.key)
        #expect(note.note == Self.note)
        #expect(note.isSigned(byAnyOf: [key]))
        var other = note
        other.text = "This is an example Message.\n"
        #expect(!other.isSigned(byAnyOf: [key]))
        #expect(!note.isSigned(byAnyOf: []))
    }

    /// A signature by an unknown key is ignored. A false signature in the name of a known key makes
    /// the note invalid.
    @Test func severalSignatures() throws {
        let (own, stranger) = (try SealKey(name: "ledger/a"), try SealKey(name: "ledger/b"))
        let head = TreeHead(origin: "ledger/a", size: 0, root: .ofNothing)
        var note = try own.sign(head)
        note.signatures.append(.init(name: "ledger/b", keyID: stranger.verifier.id, bytes: [1, 2, 3]))
        let again = try SignedNote(note.note)
        #expect(again == note)
        #expect(again.isSigned(byAnyOf: [own.verifier]))
        #expect(!again.isSigned(byAnyOf: [own.verifier, stranger.verifier]))
        #expect(!again.isSigned(byAnyOf: [stranger.verifier]))
    }

    @Test func keys() throws {
        let key = try SealKey(name: "jobledger/x/1")
        let again = try SealKey(secretText: key.secretText + "\n")
        #expect(again.verifier == key.verifier)
        #expect(try VerifierKey(" \(key.verifier)\n") == key.verifier)
        for name: ExactText in ["", "a b", "a+b", "a\u{A0}b", "a\nb"] {
            #expect(throws: Malformed.self) { try SealKey(name: name) }
        }
        let parts = "\(key.verifier)".split(separator: "+", maxSplits: 2).map(String.init)
        let wrong = [
            "", "x", "\(parts[0])+\(parts[1])", "other+\(parts[1])+\(parts[2])", "\(parts[0])+00000000+\(parts[2])",
            "\(parts[0])+\(parts[1])+\(parts[2])A", "\(parts[0])+\(parts[1])+AAAA", key.secretText,
        ]
        for text in wrong { #expect(throws: Malformed.self, "\(text)") { try VerifierKey(text) } }
        for text in ["", "\(key.verifier)", key.secretText.replacing("jobledger/x/1", with: "jobledger/x/2")] {
            #expect(throws: Malformed.self) { try SealKey(secretText: text) }
        }
    }

    @Test func checkpoints() throws {
        let key = try SealKey(name: "ledger/a")
        let head = TreeHead(origin: "ledger/a", size: 12_345_678_901, root: .leaf([7]))
        let checkpoint = try SignedCheckpoint(head, signedBy: key)
        let again = try SignedCheckpoint(checkpoint.text)
        #expect(again == checkpoint)
        try again.verify(by: key.verifier)
        #expect(throws: SignedCheckpoint.NotSigned.self) {
            try again.verify(by: try SealKey(name: "ledger/a").verifier)
        }
        #expect(throws: SignedCheckpoint.NotSigned.self) {
            try again.verify(by: try SealKey(name: "ledger/b").verifier)
        }
        #expect(try TreeHead(head.text + "more\n") == head)
        let root = MerkleHash.leaf([7]).base64
        let wrong = [
            "", "a\n", "a\n1\n", "a\n1\n\(root)", "a\n01\n\(root)\n", "a\n-1\n\(root)\n", "a\n+1\n\(root)\n",
            "a\n1 \n\(root)\n",
            "a\n0\n\(root)\n", "\n1\n\(root)\n", "a\n1\n\(root.dropLast())\n", "a\n1\n\(root)\n\n",
            "a\n99999999999999999999\n\(root)\n",
        ]
        for text in wrong { #expect(throws: Malformed.self, "\(text)") { try TreeHead(text) } }
        let notes = [
            head.text, head.text + "\n", head.text + "\n- ledger/a AAAAAAA=\n", head.text + "\n— ledger/a AAAA\n",
            head.text + "\n— AAAAAAA=\n", checkpoint.text + "x", checkpoint.text + "\n",
            checkpoint.text.replacing("— ", with: "—  "),
            String(checkpoint.text.dropLast()), "\u{7}" + checkpoint.text,
        ]
        for text in notes { #expect(throws: Malformed.self, "\(text)") { try SignedCheckpoint(text) } }
    }
}
