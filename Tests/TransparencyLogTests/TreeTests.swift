import LedgerTesting
import Testing

@testable import TransparencyLog

struct TreeTests {
    /// The test vectors of Certificate Transparency.
    @Test func knownRoots() {
        let leaves: [[UInt8]] = [
            [], [0x00], [0x10], [0x20, 0x21], [0x30, 0x31], [0x40, 0x41, 0x42, 0x43], Array(0x50...0x57),
            Array(0x60...0x6F),
        ]
        let roots = [
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
            "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
            "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
            "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
            "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
            "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
        ]
        var edge = CompactRange()
        #expect(edge.root.hex == roots[0])
        for (leaf, root) in zip(leaves, roots.dropFirst()) {
            edge.append(.leaf(leaf))
            #expect(edge.root.hex == root)
        }
    }

    /// At all sizes up to 300, the root of the edge and the proofs are those of the definition, and
    /// the proofs hold.
    @Test func inclusion() throws {
        let naive = NaiveTree(leaves: 300)
        var tree = TiledTree()
        #expect(tree.edge.root == naive.root(0..<0))
        for size in 1...300 {
            tree.append(naive.leaves[size - 1])
            let root = naive.root(0..<size)
            #expect(tree.edge.root == root)
            for index in stride(from: 0, to: size, by: size < 20 ? 1 : 7) {
                let proof = try tree.inclusion(Int64(index), Int64(size))
                #expect(proof.hashes == naive.path(index, 0..<size))
                #expect(proof.root(of: naive.leaves[index], size: Int64(size)) == root)
            }
        }
    }

    @Test func consistency() {
        let naive = NaiveTree(leaves: 300)
        var tree = TiledTree()
        for leaf in naive.leaves { tree.append(leaf) }
        for new in [0, 1, 2, 3, 7, 8, 9, 127, 128, 129, 255, 256, 257, 300] {
            for old in 0...new {
                let proof = tree.consistency(Int64(old), Int64(new))
                #expect(proof.hashes == (old == 0 ? [] : naive.proof(old, 0..<new)))
                let (oldRoot, newRoot) = (naive.root(0..<old), naive.root(0..<new))
                #expect(proof.holds(old: Int64(old), oldRoot: oldRoot, new: Int64(new), newRoot: newRoot))
                let other = MerkleHash.leaf(Array("another".utf8))
                #expect(!proof.holds(old: Int64(old), oldRoot: other, new: Int64(new), newRoot: newRoot))
                // An empty tree is the beginning of every tree.
                if old > 0 { #expect(!proof.holds(old: Int64(old), oldRoot: oldRoot, new: Int64(new), newRoot: other)) }
            }
        }
    }

    /// A proof that was altered, cut or extended does not hold.
    @Test func brokenProofs() throws {
        let naive = NaiveTree(leaves: 200)
        var tree = TiledTree()
        for leaf in naive.leaves { tree.append(leaf) }
        let (root, other) = (tree.edge.root, MerkleHash.leaf([1]))
        for index in [0, 1, 63, 127, 128, 198, 199] {
            let proof = try tree.inclusion(Int64(index), 200)
            for place in proof.hashes.indices {
                var broken = proof
                broken.hashes[place] = other
                #expect(broken.root(of: naive.leaves[index], size: 200) != root)
                broken.hashes.remove(at: place)
                #expect(broken.root(of: naive.leaves[index], size: 200) != root)
                broken.hashes = proof.hashes + [other]
                #expect(broken.root(of: naive.leaves[index], size: 200) == nil)
            }
            var elsewhere = proof
            elsewhere.index = Int64((index + 1) % 200)
            #expect(elsewhere.root(of: naive.leaves[index], size: 200) != root)
            #expect(proof.root(of: other, size: 200) != root)
            // A root does not cover the size: trees of nearly the same size have proofs of the same
            // shape. That is why a checkpoint has the size as well as the root.
            for size in [Int64(-1), 0, 1, 127, 300, .max] {
                #expect(proof.root(of: naive.leaves[index], size: size) != root)
            }
            for index in [Int64(-1), 200, .max, .min] {
                #expect(InclusionProof(index: index, hashes: proof.hashes).root(of: other, size: 200) == nil)
            }
        }
        let proof = tree.consistency(77, 200)
        let oldRoot = naive.root(0..<77)
        for place in proof.hashes.indices {
            var broken = proof
            broken.hashes[place] = other
            #expect(!broken.holds(old: 77, oldRoot: oldRoot, new: 200, newRoot: root))
            broken.hashes.remove(at: place)
            #expect(!broken.holds(old: 77, oldRoot: oldRoot, new: 200, newRoot: root))
        }
        for (old, new) in [
            (Int64(76), Int64(200)), (78, 200), (77, 127), (77, 300), (201, 200), (-1, 200), (0, 200), (200, 200),
        ] {
            #expect(!proof.holds(old: old, oldRoot: oldRoot, new: new, newRoot: root))
        }
        #expect(!ConsistencyProof(hashes: []).holds(old: 77, oldRoot: oldRoot, new: 200, newRoot: root))
    }

    /// An edge that is read from its bytes goes on to the same tree, at all sizes around those at
    /// which tiles become full.
    @Test func edgeFromBytes() throws {
        var (edge, tree) = (CompactRange(), TiledTree())
        for number in 0..<66_000 {
            let leaf = MerkleHash.leaf([UInt8(truncatingIfNeeded: number), UInt8(truncatingIfNeeded: number >> 8)])
            tree.append(leaf)
            edge.append(leaf)
            let size = number + 1
            if [0, 1, 255].contains(size % 256), size % 65_536 < 1000 || size % 65_536 > 65_000 {
                let again = try #require(CompactRange(size: edge.size, bytes: edge.bytes))
                #expect(again == edge)
                #expect(again.root == tree.edge.root)
                #expect(CompactRange(size: edge.size + 1, bytes: edge.bytes) == nil)
                edge = again
            }
        }
        #expect(tree.tiles.count == 257 + 1)
        #expect(tree.tiles.allSatisfy { $1.count == 256 && $0.width(inTreeOf: 66_000) == 256 })
        #expect(edge.hashes(of: Tile(level: 0, number: 257)) == tree.edge.hashes(of: Tile(level: 0, number: 257)))
        #expect(edge.hashes(of: Tile(level: 0, number: 256)) == nil)
        #expect(edge.hashes(of: Tile(level: 2, number: 0))?.count == 1)
    }
}
