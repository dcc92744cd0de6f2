/// 256 consecutive hashes of a Merkle tree, at one of the heights 0, 8, 16 … above the leaves. This
/// is the unit in which C2SP's tlog-tiles stores and serves a tree.
package struct Tile: Sendable, Hashable, Comparable {
    /// The number of hashes in a full tile.
    package static let width = 256
    /// The number of tree levels that a tile spans.
    package static let height = 8

    /// 0 for hashes of leaves, 1 for hashes of full tiles of level 0, and so on.
    package var level: Int
    /// From 0, within the level.
    package var number: Int64

    package init(level: Int, number: Int64) {
        self.level = level
        self.number = number
    }

    package static func < (a: Tile, b: Tile) -> Bool { (a.level, a.number) < (b.level, b.number) }

    /// The highest level of a tree of ``TreeHead/largestSize`` leaves.
    package static let highestLevel = 7

    /// The number of hashes that this tile has in a tree of `size` leaves: 0 where the tree has no
    /// such tile, 256 where it is full.
    package func width(inTreeOf size: Int64) -> Int {
        // The index of its first hash may be too large for an Int64.
        let (first, isBeyond) = number.multipliedReportingOverflow(by: Int64(Self.width))
        guard (0...Self.highestLevel).contains(level), !isBeyond, first >= 0, size >= 0 else { return 0 }
        return Int(min(Int64(Self.width), max(0, (size >> (Self.height * level)) - first)))
    }

    /// The indices of the leaves below it when it is full, cut off at ``TreeHead/largestSize``.
    package var leaves: Range<Int64> {
        func leaf(_ number: Int64) -> Int64 {
            guard level < Self.highestLevel else { return number > 0 ? TreeHead.largestSize : 0 }
            let (leaf, isBeyond) = number.multipliedReportingOverflow(by: 1 << (Self.height * (level + 1)))
            return isBeyond ? TreeHead.largestSize : min(leaf, TreeHead.largestSize)
        }
        return leaf(number)..<leaf(number + 1)
    }

    /// The first tiles below it, one level down. Each of them has its root as a hash in this tile.
    package func children(_ count: Int = Tile.width) -> [Tile] {
        (0..<Int64(count)).map { Tile(level: level - 1, number: number * Int64(Self.width) + $0) }
    }

    /// The tile one level up that has the root of this tile, once it is full, and the index there.
    package var parent: (tile: Tile, place: Int) {
        let (number, place) = number.quotientAndRemainder(dividingBy: Int64(Self.width))
        return (Tile(level: level + 1, number: number), Int(place))
    }

    /// The tiles at the right edge of a tree of `size` leaves that are not full, from level 0 up.
    /// Some of them may be empty.
    package static func edge(ofTreeOf size: Int64) -> [Tile] {
        var tiles: [Tile] = []
        while tiles.count <= highestLevel, size >> (height * tiles.count) > 0 {
            let level = tiles.count
            tiles.append(Tile(level: level, number: size >> (height * (level + 1))))
        }
        return tiles
    }

    // MARK: Paths

    /// The path of the tile after `tile/`, such as `0/x001/x234/067.p/17`.
    /// - Parameter width: the number of hashes in the file.
    package func path(width: Int = Tile.width) -> String { "\(level)/\(Self.path(number: number, width: width))" }

    /// The path without the level, as it also comes after `tile/entries/`.
    package static func path(number: Int64, width: Int = Tile.width) -> String {
        var (rest, last) = number.quotientAndRemainder(dividingBy: 1000)
        var path = threeDigits(last)
        while rest > 0 {
            (rest, last) = rest.quotientAndRemainder(dividingBy: 1000)
            path = "x\(threeDigits(last))/\(path)"
        }
        return width == Self.width ? path : "\(path).p/\(width)"
    }

    private static func threeDigits(_ number: Int64) -> String {
        String(repeating: "0", count: 3 - "\(number)".count) + "\(number)"
    }

    /// Reads a path that ``path(number:width:)`` has made.
    /// - Returns: `nil` for any other spelling, and for a tile that no tree can have.
    package static func parse(_ segments: some Collection<Substring>) -> (number: Int64, width: Int)? {
        var parts = Array(segments)
        var width = Self.width
        if parts.count >= 2, parts[parts.count - 2].hasSuffix(".p") {
            guard let partial = Int(parts.removeLast()), (1..<Self.width).contains(partial) else { return nil }
            width = partial
            parts[parts.count - 1].removeLast(2)
        }
        guard (1...6).contains(parts.count) else { return nil }
        var number: Int64 = 0
        for part in parts {
            let digits = part.drop { $0 == "x" }
            // Int64 alone would accept a sign as well.
            guard digits.utf8.count == 3, digits.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
                let value = Int64(digits)
            else {
                return nil
            }
            number = number * 1000 + value
        }
        // Each number has one spelling, and there is a largest one.
        guard number <= TreeHead.largestSize / Int64(Self.width),
            path(number: number, width: width) == segments.joined(separator: "/")
        else { return nil }
        return (number, width)
    }
}
