import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("an error type") struct ErrorTypesTests {
        /// The types of errors that end the command line with 1, and those that never reach it.
        ///
        /// The sources do not show which errors reach the command line. So the test asks for a
        /// decision about each type: it conforms to `ExitStatusProviding`, or is listed here.
        private static let endingWithOne: Set<String> = [
            "AsOfTables.Taken", "AuditTrail.NotProjected", "BareLibpq.Failure",
            "BenchFailure", "CategoryInstall.Refused", "CheckpointAddress.Failure", "CheckpointFile.Failure",
            "DirectoryLost", "Divergence",
            "EmbeddedServiceError", "EventProof.NotProved", "FeedEvent.Malformed", "FeedStopped",
            "FileFailure", "FoldFailure", "GroupCommitStopped", "Health.Slow", "HistoryRewritten",
            "Interrupt.NoDescriptor", "JSONText.SyntaxError",
            "LedgerService.Mistake", "LogFile.Refused", "Malformed", "MigrationFile.FormatError",
            "Migrator.Failure", "NewDefinition.Taken", "NodeTree.SyntaxError", "Problem",
            "ProjectionReplaced", "Rebuild.Busy", "Rebuild.Obstructed", "Rebuild.Overtaken",
            "RebuildOfAnother", "Refusal", "RefusalOfReader",
            "RememberedEvent.Unreadable", "ReplacedTables.None", "RequestCutOff",
            "RightsMissing",
            "SealDamaged", "SealProofs.NotSealed", "SealProofs.TooMuch", "SealStopped",
            "ServedDocuments.Slow",
            "SignedCheckpoint.NotSigned", "StandardOutput.Closed", "StreamCompleteness.NotComplete",
            "SubscriptionTaken",
            "TableShape.NoPrimaryKey", "TableSwap.InUse", "Verification.NotProjected",
        ]

        /// The modules that are not part of `jobledger`.
        private static let otherPrograms: Set<String> = ["Backtest", "EmbedFiles", "LedgerClient", "backtest-demo"]

        private struct ErrorType {
            /// How many types of this name there are, in different modules or files.
            var declarations = 0
            var saysStatus = false
        }

        @Test("says with which status the program ends, or is known to end it with 1") func allAreDecided() throws {
            let types = try Self.errorTypes()
            let others = Set(types.filter { !$0.value.saysStatus }.keys)
            let undecided = others.subtracting(Self.endingWithOne).sorted()
            #expect(undecided == [], "make them conform to ExitStatusProviding, or list those that mean 1")
            let outdated = Self.endingWithOne.subtracting(others).sorted()
            #expect(outdated == [], "these are gone, or say a status")
            let ambiguous = types.filter { $0.value.declarations != 1 }.keys.sorted()
            #expect(ambiguous == [], "the list cannot tell two types of one name apart")
        }

        // MARK: Reading the sources

        /// The error types of the program's modules by name, with the types around them.
        private static func errorTypes() throws -> [String: ErrorType] {
            var types: [String: ErrorType] = [:]
            for folder in ["Sources", "bench/LedgerBench"] {
                let root = Repository.root.appending(path: folder)
                for path in try FileManager.default.subpathsOfDirectory(atPath: root.path)
                where path.hasSuffix(".swift") && !otherPrograms.contains(String(path.prefix { $0 != "/" })) {
                    let text = try String(contentsOf: root.appending(path: path), encoding: .utf8)
                    addErrorTypes(in: text.split(separator: "\n", omittingEmptySubsequences: false), to: &types)
                }
            }
            return types
        }

        private static func addErrorTypes(in lines: [Substring], to types: inout [String: ErrorType]) {
            // The sources are formatted, so the indentation shows what a declaration is in.
            var enclosing: [(indentation: Int, name: String)] = []
            for (index, line) in lines.enumerated() {
                guard let (kind, name) = declaration(line) else { continue }
                let indentation = line.prefix { $0 == " " }.count
                while let last = enclosing.last, last.indentation >= indentation { enclosing.removeLast() }
                enclosing.append((indentation, name))
                let inherited = inheritance(lines[index...])
                guard inherited.contains("Error") || inherited.contains("ExitStatusProviding") else { continue }
                let fullName = enclosing.map { $0.name }.joined(separator: ".")
                var type = types[fullName] ?? ErrorType()
                if kind != "extension" { type.declarations += 1 }
                if inherited.contains("ExitStatusProviding") { type.saysStatus = true }
                types[fullName] = type
            }
        }

        private static let modifiers: Set<Substring> = [
            "public", "package", "internal", "private", "fileprivate", "final", "indirect",
        ]
        private static let kinds: Set<Substring> = ["struct", "enum", "class", "actor", "extension"]

        /// The type that a line declares or extends.
        private static func declaration(_ line: Substring) -> (kind: Substring, name: String)? {
            let words = line.split(separator: " ").drop { modifiers.contains($0) || $0.hasPrefix("@") }
            guard let kind = words.first, kinds.contains(kind), let name = words.dropFirst().first else { return nil }
            return (kind, String(name.prefix { $0.isLetter || $0.isNumber || $0 == "_" || $0 == "." }))
        }

        /// What the declaration at the start of `lines` names after the colon.
        private static func inheritance(_ lines: ArraySlice<Substring>) -> [Substring] {
            var head = ""
            for line in lines {
                head.append(contentsOf: line.prefix { $0 != "{" })
                head.append(" ")
                if line.contains("{") { break }
            }
            let clause = head.replacing(#/<[^>]*>/#, with: "").replacing(#/ where .*/#, with: "")
            guard let colon = clause.firstIndex(of: ":") else { return [] }
            return clause[colon...].dropFirst().split { $0 == "," || $0 == " " }
        }
    }
}
