import Testing

@testable import TransparencyLog

struct TileTests {
    /// The examples of C2SP's tlog-tiles.
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
            "1", "01", "0001", "x000/001", "x001", "001/002", "x1/002", "-01", "+01", "001.p/0", "001.p/256", "001.p/01", "001.p",
            "001.p/-1", "1.p/1", "x001/", "/001", "xx01", "x01/x02/003", "٠٠١",
        ]
        for path in wrong {
            #expect(Tile.parse(path.split(separator: "/", omittingEmptySubsequences: false)) == nil, "\(path)")
        }
    }
}
