import Testing
import Texts

@testable import TransparencyLog

struct ProofTextTests {
    private let key: SealKey
    private let checkpoint: SignedCheckpoint

    init() throws {
        key = try SealKey(name: "ledger/a")
        checkpoint = try SignedCheckpoint(TreeHead(origin: "ledger/a", size: 12, root: .leaf([7])), signedBy: key)
    }

    @Test func proofs() throws {
        for (extra, count) in [([], 0), (Array("{}".utf8), 4), (Array(0...255), 63)] as [([UInt8], Int)] {
            let proof = LogProof(
                extra: extra, inclusion: InclusionProof(index: 3, hashes: (0..<count).map { .leaf([UInt8($0)]) }),
                checkpoint: checkpoint)
            #expect(try LogProof(proof.text) == proof)
            #expect(try LogProof.list(proof.text) == [proof])
            #expect(try LogProof.list(proof.text + proof.text + proof.text) == [proof, proof, proof])
        }
    }

    /// The example in C2SP's tlog-proof, with complete hashes and a complete signature.
    @Test func knownText() throws {
        let signature =
            "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
        let text = """
            c2sp.org/tlog-proof@v1
            extra YWdl
            index 73894
            gSKyXoYZUgZ6jduWYrkDOARinOMGJveXjgMkBTcdPlQ=
            B95lDa8R83lS8n0eG+o0buTxRKQTYFi//1U8anccXmA=

            example.com/fancylog
            109482
            sFodV/vSp5O8n9a8QpW6PRY97tfOSW5bsc2Xl/EQi08=

            — example.com/fancylog \(signature)

            """
        let proof = try LogProof(text)
        #expect(proof.extra == Array("age".utf8) && proof.inclusion.index == 73894 && proof.inclusion.hashes.count == 2)
        #expect(proof.checkpoint.head.size == 109_482)
        #expect(proof.text == text)
        for (old, new) in [
            ("@v1", "@v2"), ("YWdl", "YWd"), ("index 73894", "index 073894"), ("index 73894", "index -1"),
            ("index 73894\n", ""),
            ("gSKy", "gSK"), ("\n\nexample", "\nexample"), ("109482", "1e5"), ("sFodV", "sFod"),
            ("— example", "- example"),
        ] {
            #expect(throws: Malformed.self, "\(old)") {
                try LogProof(text.replacing(old, with: new, maxReplacements: 1))
            }
        }
    }

    @Test func updates() throws {
        let update = CheckpointUpdate(
            oldSize: 7, proof: ConsistencyProof(hashes: [.leaf([1]), .leaf([2])]), checkpoint: checkpoint)
        #expect(try CheckpointUpdate(update.text) == update)
        for wrong in [
            "", "old 7\n", "old 07\n\n\(checkpoint.text)", "old -1\n\n\(checkpoint.text)", "7\n\n\(checkpoint.text)",
        ] {
            #expect(throws: Malformed.self, "\(wrong)") { try CheckpointUpdate(wrong) }
        }
    }
}
