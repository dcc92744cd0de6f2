import Configuration
import Foundation

/// Where settings come from, the first before the others, and which of them were asked for.
///
/// What is written under a name of ours and was never asked for is a mistake, not a setting:
/// ``refuseUnknown()``. So there is no list of known names that could be forgotten.
final class SettingSources {
    typealias Problem = LedgerSettings.Problem

    private struct Source {
        let title: String
        /// Where exactly it has a name.
        let place: (String) -> String
        let value: (String) throws -> String?
        let names: [String]
        /// Names that stand behind another setting on its line.
        var hidden: [EnvironmentFile.Hidden] = []
        /// Whether the command line names it.
        var isChosen = false
    }

    private var sources: [Source] = []
    /// Names that are ours and read by others: the client, the dashboard, tests.
    private var known: Set<String> = [  // plain: names of settings, our own
        "JOBLEDGER_TOKEN", "JOBLEDGER_URL", "JOBLEDGER_DASHBOARD_URL", "JOBLEDGER_CI_MINUTES", "JOBLEDGER_SOAK",
    ]

    /// - Parameter isChosen: whether it is that of `--data-dir`. What it says of the ledger nothing
    ///   else may contradict.
    func add(_ file: EnvironmentFile, isChosen: Bool = false) {
        sources.append(
            Source(
                title: file.path,
                place: { name in file.settings[name].map { "\(file.path), line \($0.line)" } ?? file.path },
                value: { try file.settings[$0]?.value.get() }, names: file.settings.keys.sorted(),
                hidden: file.hidden, isChosen: isChosen))
    }

    func addEnvironment(_ environment: [String: String]) {  // plain: asked for by our own names alone
        let names = environment.keys.filter { !Self.isOfKubernetes($0) }
        let provider = EnvironmentVariablesProvider(environmentVariables: environment)
        let title = "the environment"
        sources.append(
            Source(title: title, place: { _ in title }, value: provider.environmentValue, names: names.sorted()))
    }

    /// What the first source that has the name says; `nil` where that is nothing.
    func value(_ name: String) throws -> String? {
        known.insert(name)
        var found: (value: String, title: String)?
        var chosen: (value: String, title: String)?
        for source in sources {
            guard let value = try source.value(name) else { continue }
            if let found, found.value.isEmpty, !value.isEmpty {
                throw Problem(
                    description: "\(name) is empty in \(found.title), and set in \(source.title): remove one of them")
            }
            // An address is what --data-dir takes the place of; the rest says which ledger is
            // meant, and with which key.
            if source.isChosen, name.hasPrefix("JOBLEDGER_") { chosen = (value, source.title) }
            if let chosen, !value.isEmpty, value != chosen.value {
                throw Problem(
                    description:
                        "\(name) is one thing in \(chosen.title), which --data-dir names, and another in \(source.title): remove it there, or leave out --data-dir"
                )
            }
            found = found ?? (value, source.title)
        }
        return found.flatMap { $0.value.isEmpty ? nil : $0.value }
    }

    /// The same with where the setting stands that is malformed.
    func refused(_ problem: Problem) -> Problem {
        guard let (name, mistake) = problem.setting,
            let source = sources.first(where: { (try? $0.value(name))?.isEmpty == false })
        else { return problem }
        return Problem(description: "\(name), in \(source.place(name)), \(mistake)")
    }

    /// - Throws: ``LedgerSettings/Problem`` that names what is written and is no setting.
    func refuseUnknown() throws(Problem) {
        for source in sources {
            for name in source.names where !known.contains(name) {
                guard isLikeOurs(name) else { continue }
                let near = Spelling.nearest(to: name, of: known)
                throw Problem(
                    description: "\(name), in \(source.title), is no setting"
                        + (near.map { ": is \($0) meant?" } ?? "; docs/settings.md has those there are"))
            }
            for hidden in source.hidden where known.contains(hidden.name) || isLikeOurs(hidden.name) {
                throw Problem(
                    description:
                        "\(source.title), line \(hidden.line): \(hidden.name)= stands behind another setting, where some programs read it and others do not: write it on a line of its own, or the value that has it in single quotes"
                )
            }
        }
    }

    private func isLikeOurs(_ name: String) -> Bool {
        name.uppercased().hasPrefix("JOBLEDGER_")
            || Spelling.nearest(to: name, of: known)?.hasPrefix("JOBLEDGER_") == true
    }

    /// What Kubernetes sets in every container for a service that is called `jobledger`, or begins
    /// like it.
    private static func isOfKubernetes(_ name: String) -> Bool {
        name.wholeMatch(
            of: /JOBLEDGER(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)/)
            != nil
            || name == "JOBLEDGER_PORT"
    }
}

/// How far words are from each other.
enum Spelling {
    /// The one of `words` that `word` is a misspelling of, by two letters at most; upper and lower
    /// case are one.
    static func nearest(to word: String, of words: Set<String>) -> String? {  // plain: words of ours
        let letters = Array(word.uppercased().utf8)
        let distances = words.sorted().map { (word: $0, distance: distance(letters, Array($0.utf8))) }
        return distances.min { $0.distance < $1.distance }.flatMap { $0.distance <= 2 ? $0.word : nil }
    }

    /// Levenshtein's: how many letters must be put in, taken out or changed.
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        // Far apart in any case; an environment has many names.
        guard abs(a.count - b.count) <= 2 else { return .max }
        var row = Array(0...b.count)
        for (i, letter) in a.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, other) in b.enumerated() {
                let changed = diagonal + (letter == other ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(changed, row[j] + 1, diagonal + 1)
            }
        }
        return row[b.count]
    }
}
