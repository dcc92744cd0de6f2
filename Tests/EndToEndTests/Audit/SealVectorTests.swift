import Foundation
import LedgerCore
import LedgerTesting
import Testing
import TransparencyLog

extension EndToEnd {
    /// Trees, checkpoints, tiles and proofs are checked by `scripts/check-seal`, which was written
    /// from the specifications and shares no code with this program.
    @Suite("checked by other code") struct SealVectorTests {
        /// 0 to 300, and around the powers of two up to a million.
        private static let sizes =
            Array(0...300) + (9...20).flatMap { power in [-1, 0, 1].map { (1 << power) + $0 } }

        private struct Vector: Encodable {
            var checkpoint: String
            /// The inclusion proofs by index.
            var inclusion: [String: [String]]
            /// The consistency proofs by the size of the older tree.
            var consistency: [String: [String]]
        }

        @Test("trees of all sizes", .timeLimit(.minutes(15))) func vectors() async throws {
            let directory = try makeDirectory("vectors")
            defer { try? FileManager.default.removeItem(at: directory) }
            func write(_ data: Data, _ name: String) throws {
                let file = directory.appending(path: name)
                try FileManager.default.createDirectory(
                    at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
                try data.write(to: file)
            }
            let seed = UInt64.random(in: .min ... .max)
            print("seed \(seed)")
            var generator = SeededGenerator(seed: seed)
            let key = try SealKey(name: "vectors/1")
            try write(Data("\(key.verifier)\n".utf8), "vkey")

            var (edge, tiles): (CompactRange, [Tile: [MerkleHash]]) = (CompactRange(), [:])
            var lines: [String] = []
            let encoder = JSONEncoder()
            for size in Self.sizes {
                while edge.size < size { edge.append(.leaf(Array("leaf \(edge.size)".utf8))) { tiles[$0] = $1 } }
                func hashes(_ ranges: [TreeRange]) throws -> [String] {
                    try ranges.map { try #require($0.hash { tiles[$0] ?? edge.hashes(of: $0) }).base64 }
                }
                let checkpoint = try SignedCheckpoint(
                    TreeHead(origin: key.name, size: Int64(size), root: edge.root), signedBy: key)
                var vector = Vector(checkpoint: checkpoint.text, inclusion: [:], consistency: [:])
                // For small trees all indexes; for others both ends and some random ones.
                let indexes =
                    size <= 20
                    ? Array(0..<size)
                    : [0, 1, size / 2, size - 2, size - 1]
                        + (0..<5).map { _ in Int.random(in: 0..<size, using: &generator) }
                for index in indexes {
                    vector.inclusion["\(index)"] = try hashes(
                        InclusionProof.ranges(index: Int64(index), size: Int64(size)))
                }
                let olds =
                    size <= 20
                    ? Array(0...size)
                    : [0, 1, size / 2, size - 1, size]
                        + (0..<5).map { _ in Int.random(in: 0...size, using: &generator) }
                for old in olds {
                    vector.consistency["\(old)"] = try hashes(
                        ConsistencyProof.ranges(old: Int64(old), new: Int64(size)))
                }
                lines.append(String(decoding: try encoder.encode(vector), as: UTF8.self))
                if size == Self.sizes.last { try write(Data(checkpoint.text.utf8), "checkpoint") }
            }
            try write(Data(lines.joined(separator: "\n").utf8), "vectors.jsonl")
            for (tile, hashes) in tiles { try write(Data(MerkleHash.bytes(hashes)), "tile/" + tile.path()) }
            for tile in Tile.edge(ofTreeOf: edge.size) {
                guard let hashes = edge.hashes(of: tile) else { continue }
                try write(Data(MerkleHash.bytes(hashes)), "tile/" + tile.path(width: hashes.count))
            }

            let answer = try await PythonTools.checkSeal("vectors", directory.path)
            #expect(answer.code == 0, "\(answer)")
            #expect(answer.output.contains("holds: \(Self.sizes.count) trees of up to 1048577 leaves"), "\(answer)")
            // The check must also fail when a vector is wrong: a proof of a leaf that there is not.
            lines[100] = lines[100].replacing("\"inclusion\":{\"", with: "\"inclusion\":{\"9999999", maxReplacements: 1)
            try write(Data(lines.joined(separator: "\n").utf8), "vectors.jsonl")
            #expect(try await PythonTools.checkSeal("vectors", directory.path).code != 0)
        }
    }
}

extension PythonTools {
    /// Runs `scripts/check-seal`.
    static func checkSeal(_ arguments: String..., environment: [String: String] = [:]) async throws -> Outcome {
        try await python().run(
            [Repository.root.appending(path: "scripts/check-seal").path] + arguments, environment: environment,
            within: .seconds(120))
    }
}
