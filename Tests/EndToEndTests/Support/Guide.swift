import Foundation
import LedgerTesting
import Testing

/// A page of the documentation that says which files to write and which commands to run.
struct Guide {
    struct Block {
        /// The word after the fence.
        var kind: String
        /// The path of the file that the block contains, if it is a file.
        var file: String?
        var text: String
    }

    let blocks: [Block]

    /// - Parameter page: the name of the file in `docs`.
    init(_ page: String) throws {
        let guide = try String(contentsOf: Repository.root.appending(path: "docs/\(page)"), encoding: .utf8)
        blocks = guide.components(separatedBy: "```").enumerated().filter { $0.offset % 2 == 1 }.map { _, part in
            let lines = part.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
            let words = lines[0].split(separator: " ").map(String.init)
            return Block(kind: words[0], file: words.dropFirst().first, text: String(lines[1]))
        }
    }

    /// Follows the guide to the letter: writes its files, runs its commands in a shell, compares
    /// their output with the output that it shows.
    /// - Parameters:
    ///   - outputs: how many outputs it shows.
    ///   - replacing: texts of the commands with what stands in their place.
    func follow(_ user: UserLedger, outputs: Int, replacing: [String: String] = [:]) async throws {
        let bin = try makeDirectory("bin")
        try FileManager.default.createSymbolicLink(
            at: bin.appending(path: "jobledger"), withDestinationURL: URL(filePath: Program.jobledger.path))
        let (script, expected) = script(path: bin.path)
        let text = replacing.reduce(script) { $0.replacing($1.key, with: $1.value) }
        let outcome = try await Program(path: "/bin/bash").run(
            ["-c", text], environment: user.environment, within: .seconds(180))
        #expect(outcome.code == 0 && outcome.output.hasSuffix("### end\n"), "\(outcome.output)\n\(outcome.errors)")
        #expect(expected.count == outputs)
        let answers = Self.answers(in: outcome.output)
        for (number, lines) in expected { Self.compare(lines, with: answers[number] ?? "") }
    }

    /// One shell runs all blocks, as a reader would. A line between blocks separates their output.
    private func script(path: String) -> (text: String, expected: [Int: [String]]) {
        var script = "set -eu; exec 2>&1; trap 'kill $(jobs -p) 2>/dev/null || :' EXIT\nPATH=\(path):$PATH\n"
        var expected: [Int: [String]] = [:]
        for (number, block) in blocks.enumerated() {
            switch (block.kind, block.file) {
            case ("sh", _): script += "echo '### \(number)'\n\(block.text)\n"
            case ("text", nil) where number > 0 && blocks[number - 1].kind == "sh":
                expected[number - 1] = block.text.split(separator: "\n").map(String.init)
            case (_, let file?):
                script += "mkdir -p $(dirname \(file)); cat > \(file) <<'END_OF_FILE'\n\(block.text)END_OF_FILE\n"
            default: break
            }
        }
        return (script + "echo '### end'\n", expected)
    }

    private static func answers(in output: String) -> [Int: String] {
        var answers: [Int: String] = [:]
        for part in output.components(separatedBy: "### ") {
            let lines = part.split(separator: "\n", maxSplits: 1, omittingEmptySubsequences: false)
            if let number = Int(lines[0]) { answers[number] = String(lines.last ?? "") }
        }
        return answers
    }

    private static func compare(_ lines: [String], with answer: String) {
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
