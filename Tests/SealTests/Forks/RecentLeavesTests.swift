import Foundation
import LedgerCore
import LedgerTesting
import Testing
import TransparencyLog

@testable import Seal

struct RecentLeavesTests {
    private static func withFile(_ kept: Int, _ body: (RecentLeaves, _ path: String) throws -> Void) throws {
        let directory = TestServers.directory("leaves")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appending(path: "leaves").path
        try body(RecentLeaves(path: path, kept: kept), path)
    }

    private static func leaf(_ number: Int) -> MerkleHash { .plain(Array("\(number)".utf8)[...]) }

    /// Against all leaves ever added: windows of any size, gaps, and the same window again with
    /// other leaves, as after a crash between the signature and the commit.
    @Test func keepsTheLast() throws {
        let seed = UInt64.random(in: .min ... .max)
        var random = SeededGenerator(seed: seed)
        try Self.withFile(20) { file, path in
            var all: [Int] = []
            var next = 0
            var start = 0
            /// How many leaves were added last. A crash takes back no others.
            var last = 0
            for step in 0..<5_000 {
                switch Int.random(in: 0..<10, using: &random) {
                case 0:
                    // Elsewhere: another sealer was at work meanwhile.
                    all += Array(repeating: -1, count: Int.random(in: 1...5, using: &random))
                    (start, last) = (all.count, 0)
                case 1: all.removeLast(Int.random(in: 0...last, using: &random))
                default: break
                }
                let added = (0..<Int.random(in: 0...30, using: &random)).map { next + $0 }
                next += added.count
                try file.add(added.map(Self.leaf), after: Position(all.count))
                all += added
                last = added.count
                if added.isEmpty { continue }
                let sure = min(20, all.count - start)
                let read = try file.read(after: Position(all.count - sure), upTo: Position(all.count))
                #expect(read == all.suffix(sure).map(Self.leaf), "seed \(seed), step \(step)")
                #expect(try file.read(after: 0, upTo: Position(all.count) + 1) == nil, "seed \(seed), step \(step)")
                let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int ?? 0
                #expect(size <= 40 + 32 * 60, "seed \(seed), step \(step)")
            }
        }
    }

    /// What is not such a file has no leaves, and is written anew.
    @Test func damage() throws {
        try Self.withFile(20) { file, path in
            #expect(try file.read(after: 0, upTo: 1) == nil)
            for text in ["", "x", "leaves after x\n", "leaves after 9999999999999999999999\n"] {
                try Data(text.utf8).write(to: URL(filePath: path))
                #expect(try file.read(after: 0, upTo: 1) == nil, "\(text)")
                try file.add([Self.leaf(1)], after: 5)
                #expect(try file.read(after: 5, upTo: 6) == [Self.leaf(1)], "\(text)")
            }
        }
    }
}
