import Foundation
import LedgerTesting
import Testing

/// Every text that identifies something is an `ExactText`: see
/// docs/decisions/0015-identity-is-bytes.md.
///
/// A compiler cannot tell a string that is shown from one that is an identity. Sets and
/// dictionaries of strings, and strings with the names of identities, are suspicious. Each of them
/// in the sources must have a comment that says why its strings are our own.
@Suite struct ExactIdentityTests {
    /// The comment says where the strings come from, which nobody outside may choose.
    private static let reason = #"// plain: \w+"#

    private static let collections = #"\b(Set|Dictionary|FairShare)<(String|Substring)\b|\[(String|Substring)\??\s*:"#
    private static let names =
        #"\b(job|actor|subject|streamID|stream|origin|correlationID|causationID|tokenID)s?:"#
        + #"\s*(\[|Set<)?(String|Substring)\b"#

    private static func givesAway(_ line: some StringProtocol) throws -> Bool {
        let line = String(line)
        guard try !line.contains(Regex(reason)), !line.drop(while: { $0 == " " }).hasPrefix("//") else { return false }
        return try line.contains(Regex(collections)) || line.contains(Regex(names))
    }

    @Test(arguments: [
        "private var seen: Set<String> = []", "var byJob: [String: [SubscriptionBuffer]] = [:]",
        "let heads: [Substring : Int]",
        "Dictionary<String, Int>()", "public var job: String?", "func show(_ job: String)", "jobs: [String]",
        "actors: Set<String>",
        "let origin: Substring", "var names: Set<String>  // plain:",
    ])
    func isFound(_ line: String) throws { #expect(try Self.givesAway(line)) }

    @Test(arguments: [
        "private var seen: Set<JobID> = []", "var message: String", "let names: [String]", "var job: JobID?",
        "let wrappers: Set<String> = []  // plain: names of programs, our own", "/// A `Set<String>` would do.",
    ])
    func isNotFound(_ line: String) throws { #expect(try !Self.givesAway(line)) }

    @Test(arguments: ["Sources", "Examples", "bench/LedgerBench"])
    func nowhere(_ folder: String) throws {
        let files = try #require(
            FileManager.default.enumerator(at: Repository.root.appending(path: folder), includingPropertiesForKeys: nil)
        ).compactMap { $0 as? URL }.filter { $0.pathExtension == "swift" }
        #expect(!files.isEmpty)
        for file in files {
            let lines = try String(contentsOf: file, encoding: .utf8).split(
                separator: "\n", omittingEmptySubsequences: false)
            for (number, line) in lines.enumerated() where try Self.givesAway(line) {
                Issue.record(
                    "\(file.path):\(number + 1) has an identity that is no ExactText, or does not say why: \(line)")
            }
        }
    }
}
