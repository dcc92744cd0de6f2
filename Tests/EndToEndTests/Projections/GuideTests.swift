import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    /// Follows docs/projections.md to the letter: writes its files, runs its commands in a shell,
    /// and compares their output with the output that the guide shows.
    @Suite("the guide to projections") struct GuideTests {
        private struct Block {
            /// The word after the fence.
            var kind: String
            /// The path of the file that the block contains, if it is a file.
            var file: String?
            var text: String
        }

        private static func blocks() throws -> [Block] {
            let guide = try String(contentsOf: Repository.root.appending(path: "docs/projections.md"), encoding: .utf8)
            var blocks: [Block] = []
            for (index, part) in guide.components(separatedBy: "```").enumerated() where index % 2 == 1 {
                let lines = part.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
                let words = lines[0].split(separator: " ").map(String.init)
                blocks.append(Block(kind: words[0], file: words.dropFirst().first, text: String(lines[1])))
            }
            return blocks
        }

        @Test("is right in every command and its output") func follow() async throws {
            try await UserLedger.with { user in
                let blocks = try Self.blocks()
                let bin = try makeDirectory("bin")
                try FileManager.default.createSymbolicLink(
                    at: bin.appending(path: "jobledger"), withDestinationURL: URL(filePath: Program.jobledger.path))
                // One shell runs all blocks, as a reader would. A line between blocks separates
                // their output.
                var script =
                    "set -eu; exec 2>&1; trap 'kill $(jobs -p) 2>/dev/null || :' EXIT\nPATH=\(bin.path):$PATH\n"
                var expected: [Int: [String]] = [:]
                for (number, block) in blocks.enumerated() {
                    switch (block.kind, block.file) {
                    case ("sh", _): script += "echo '### \(number)'\n\(block.text)\n"
                    case ("text", _): expected[number - 1] = block.text.split(separator: "\n").map(String.init)
                    case (_, let file?):
                        script +=
                            "mkdir -p $(dirname \(file)); cat > \(file) <<'END_OF_FILE'\n\(block.text)END_OF_FILE\n"
                    default: break
                    }
                }
                script += "echo '### end'\n"
                let schema = "guide_\(user.ledger.name)"
                let outcome = try await Program(path: "/bin/bash").run(
                    ["-c", script.replacing("at_two", with: schema)], environment: user.environment,
                    within: .seconds(180))
                #expect(
                    outcome.code == 0 && outcome.output.hasSuffix("### end\n"), "\(outcome.output)\n\(outcome.errors)")

                var answers: [Int: String] = [:]
                for part in outcome.output.components(separatedBy: "### ") {
                    let lines = part.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
                    if let number = Int(lines[0]) { answers[number] = String(lines.last ?? "") }
                }
                #expect(expected.count == 7)
                for (number, lines) in expected {
                    let answer = answers[number] ?? ""
                    for line in lines {
                        // An ellipsis stands for anything.
                        var rest = answer[...]
                        for part in line.components(separatedBy: "…") where !part.isEmpty {
                            guard let range = rest.range(of: part) else {
                                Issue.record("the guide says «\(line)» where it is:\n\(answer)")
                                break
                            }
                            rest = rest[range.upperBound...]
                        }
                    }
                }
            }
        }

        @Test("ends with the projection that is built in") func ships() throws {
            let folder = Repository.root.appending(path: "projections/daily_job_stats")
            var compared = 0
            for block in try Self.blocks() {
                guard let file = block.file, !file.contains("/cases/") else { continue }
                let shipped = try String(
                    contentsOf: folder.appending(path: URL(filePath: file).lastPathComponent), encoding: .utf8)
                #expect(shipped == block.text, "\(file)")
                compared += 1
            }
            #expect(compared == 3)
        }
    }
}
