import Testing

@testable import TransparencyLog

struct TileTests {
    /// The examples in C2SP's tlog-tiles.
    @Test func widths() {
        func widths(_ size: Int64) -> [[Int]] {
            (0...3).map { level in
                var (widths, number) = ([Int](), Int64(0))
                while case let width = Tile(level: level, number: number).width(inTreeOf: size), width > 0 {
                    widths.append(width)
                    number += 1
                }
                return widths
            }
        }
        #expect(widths(70_000) == [Array(repeating: 256, count: 273) + [112], [256, 17], [1], []])
        #expect(widths(256) == [[256], [1], [], []])
        #expect(widths(0) == [[], [], [], []])
        #expect(Tile.edge(ofTreeOf: 70_000).map(\.number) == [273, 1, 0])
    }

    /// A path names only tiles that a tree can have, and no tile number overflows.
    @Test func extremeTileNumbers() {
        for path in [
            "x999/x999/x999/x999/x999/999", "x999/x999/x999/x999/x999/x999/999", "x018/x014/x398/x509/x481/984",
            "x009/x223/x372/x036/x854/775/807",
        ] { #expect(Tile.parse(path.split(separator: "/")) == nil, "\(path)") }
        let last = TreeHead.largestSize / Int64(Tile.width)
        #expect(Tile.parse(Tile.path(number: last).split(separator: "/"))?.number == last)
        for number in [Int64.min, -1, 0, 1, last, last + 1, 1 << 62, .max - 1, .max] {
            for level in [Int.min, -1, 0, 1, 6, 7, 8, Int.max] {
                let tile = Tile(level: level, number: number)
                for size in [Int64.min, -1, 0, 1, TreeHead.largestSize, .max] {
                    #expect((0...Tile.width).contains(tile.width(inTreeOf: size)), "\(tile) of \(size)")
                }
                if (0...Tile.highestLevel).contains(level), number >= 0, number < .max {
                    #expect(tile.leaves.upperBound <= TreeHead.largestSize, "\(tile)")
                }
            }
        }
    }

    /// Sizes come from notes that anybody may have written, so none may overflow.
    @Test func extremeSizes() throws {
        let root = MerkleHash.leaf([1]).base64
        for size in ["4611686018427387904", "9223372036854775807", "9223372036854775808", "-1", "+1", "01"] {
            #expect(throws: Malformed.self, "\(size)") { try TreeHead("log\n\(size)\n\(root)\n") }
        }
        #expect(try TreeHead("log\n\(TreeHead.largestSize)\n\(root)\n").size == TreeHead.largestSize)
        #expect(InclusionProof.ranges(index: -1, size: 5).isEmpty && InclusionProof.ranges(index: 5, size: 5).isEmpty)
        #expect(
            ConsistencyProof.ranges(old: 6, new: 5).isEmpty && ConsistencyProof.ranges(old: .min, new: .max).isEmpty)
        #expect(!InclusionProof.ranges(index: TreeHead.largestSize - 1, size: TreeHead.largestSize).isEmpty)
        #expect(!ConsistencyProof.ranges(old: TreeHead.largestSize - 1, new: TreeHead.largestSize).isEmpty)
        #expect(CompactRange(size: .max, bytes: []) == nil && CompactRange(size: .min, bytes: []) == nil)
    }

    @Test func paths() {
        #expect(Tile.path(number: 1_234_067) == "x001/x234/067")
        #expect(Tile(level: 2, number: 5).path(width: 17) == "2/005.p/17")
        for number in [Int64(0), 1, 255, 999, 1000, 1_000_000, 999_999_999, 1_234_567_890_123] {
            for width in [1, 255, 256] {
                let parsed = Tile.parse(Tile.path(number: number, width: width).split(separator: "/"))
                #expect(parsed?.number == number && parsed?.width == width)
            }
        }
        let wrong = [
            "1", "01", "0001", "x000/001", "x001", "001/002", "x1/002", "-01", "+01", "001.p/0", "001.p/256",
            "001.p/01", "001.p",
            "001.p/-1", "1.p/1", "x001/", "/001", "xx01", "x01/x02/003", "٠٠١", "x-99/x234/067", "x+99/001", "x-00/001",
        ]
        for path in wrong {
            #expect(Tile.parse(path.split(separator: "/", omittingEmptySubsequences: false)) == nil, "\(path)")
        }
    }
}
