import TransparencyLog

/// Addresses of tiles, and arithmetic on the numbers in them.
func fuzzTiles(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    guard let place = Tile.parse(text.split(separator: "/", omittingEmptySubsequences: false)) else { return }
    expect(Tile.path(number: place.number, width: place.width) == text, "\(place) has another path")
    let size = bytes.prefix(8).reduce(Int64(0)) { $0 << 8 | Int64($1) }
    for level in 0...Tile.highestLevel {
        let tile = Tile(level: level, number: place.number)
        expect((0...Tile.width).contains(tile.width(inTreeOf: size)), "\(tile) is too wide")
        expect(tile.leaves.upperBound <= TreeHead.largestSize, "\(tile) has too many leaves")
        _ = tile.parent
    }
    for tile in Tile.edge(ofTreeOf: max(0, size)) {
        expect(tile.width(inTreeOf: max(0, size)) < Tile.width, "\(tile) is full")
    }
    _ = CompactRange(size: size, bytes: bytes)
}
