import Configuration
import Foundation

/// The sources of settings, in the order in which they count, and the names that the program has
/// asked for.
///
/// A name of ours that is set but was never asked for is a mistake: ``refuseUnknown()`` reports it.
/// So there is no list of known names to maintain.
final class SettingSources {
    typealias Problem = LedgerSettings.Problem

    private struct Source {
        let title: String
        /// The place of a name in the source, for messages.
        let place: (String) -> String
        let value: (String) throws -> String?
        let names: [String]
        /// Names that follow another setting on the same line.
        var hidden: [EnvironmentFile.Hidden] = []
        /// Whether it is the `env` that `--data-dir` selects.
        var isChosen = false
    }

    private var sources: [Source] = []
    /// The names asked for so far. At first, names of ours that other programs read: the client,
    /// the dashboard and tests.
    private var known: Set<String> = [  // plain: names of settings, our own
        "JOBLEDGER_TOKEN", "JOBLEDGER_URL", "JOBLEDGER_DASHBOARD_URL", "JOBLEDGER_CI_MINUTES", "JOBLEDGER_SOAK",
    ]

    /// - Parameter isChosen: whether `--data-dir` selects the file. Then no other source may
    ///   contradict it about the ledger.
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

    /// The value from the first source that has the name; `nil` if none has it, or if it is empty.
    /// - Throws: ``LedgerSettings/Problem`` if the value is malformed, or sources contradict each
    ///   other.
    func value(_ name: String) throws -> String? {
        known.insert(name)
        var found: (value: String, title: String)?
        var chosen: (value: String, title: String)?
        for source in sources {
            guard let value = try source.value(name) else { continue }
            if let found, found.value.isEmpty, !value.isEmpty {
                throw Problem(
                    description: "\(name) is empty in \(found.title) but set in \(source.title): remove one of them")
            }
            // --data-dir replaces the addresses. All other names say which ledger is meant, and
            // with which key, so there a contradiction is an error.
            if source.isChosen, name.hasPrefix("JOBLEDGER_") { chosen = (value, source.title) }
            if let chosen, !value.isEmpty, value != chosen.value {
                throw Problem(
                    description: "\(name) has different values in \(chosen.title), which --data-dir selects, and in "
                        + "\(source.title): remove it there, or leave out --data-dir")
            }
            found = found ?? (value, source.title)
        }
        return found.flatMap { $0.value.isEmpty ? nil : $0.value }
    }

    /// The problem, with the place of the malformed setting.
    func located(_ problem: Problem) -> Problem {
        guard let (name, mistake) = problem.setting,
            let source = sources.first(where: { (try? $0.value(name))?.isEmpty == false })
        else { return problem }
        return Problem(description: "\(name), in \(source.place(name)), \(mistake)")
    }

    /// Reports a name that looks like a setting of this program and is none.
    /// - Throws: ``LedgerSettings/Problem`` that names it.
    func refuseUnknown() throws(Problem) {
        for source in sources {
            for name in source.names where !known.contains(name) {
                guard isLikeOurs(name) else { continue }
                let near = Spelling.nearest(to: name, of: known)
                throw Problem(
                    description: "\(name), in \(source.title), is not a setting"
                        + (near.map { ": is \($0) meant?" } ?? "; docs/settings.md lists the settings"))
            }
            for hidden in source.hidden where known.contains(hidden.name) || isLikeOurs(hidden.name) {
                throw Problem(
                    description: """
                        \(source.title), line \(hidden.line): \(hidden.name)= follows another setting on the same \
                        line, where some programs read it and others do not: write it on a line of its own, or put \
                        the value that contains it in single quotes
                        """)
            }
        }
    }

    private func isLikeOurs(_ name: String) -> Bool {
        name.uppercased().hasPrefix("JOBLEDGER_")
            || Spelling.nearest(to: name, of: known)?.hasPrefix("JOBLEDGER_") == true
    }

    /// Whether Kubernetes sets this variable, as it does in every container for a service whose
    /// name begins with `jobledger`.
    private static func isOfKubernetes(_ name: String) -> Bool {
        name.wholeMatch(
            of: /JOBLEDGER(_\w+)?_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)/)
            != nil
            || name == "JOBLEDGER_PORT"
    }
}

/// Finds the word that a misspelled word probably means.
enum Spelling {
    /// The nearest of `words`, if it differs by at most two letters. Case does not matter.
    static func nearest(to word: String, of words: Set<String>) -> String? {  // plain: words of ours
        let letters = Array(word.uppercased().utf8)
        let distances = words.sorted().map { (word: $0, distance: distance(letters, Array($0.utf8))) }
        return distances.min { $0.distance < $1.distance }.flatMap { $0.distance <= 2 ? $0.word : nil }
    }

    /// The Levenshtein distance: the number of letters to insert, remove or change.
    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        // Words of very different length are skipped, because an environment has many names.
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
