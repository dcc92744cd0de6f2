import Foundation

/// A file of settings: `.env`, or the `env` of an `up`. docs/settings.md has the grammar.
///
/// What docker compose and shells read in two ways is no setting but an error, with its line.
/// Messages name the line and never print a value, which may be a password.
struct EnvironmentFile: Sendable {
    typealias Problem = LedgerSettings.Problem

    struct Setting: Sendable {
        let line: Int
        /// Other programs may have settings of theirs here, whose values are not ours to read.
        let value: Result<String, Problem>
    }

    /// What looks like a setting, behind another on its line: a shell reads `A=1 B=2` and
    /// `A=1; B=2` as two.
    struct Hidden: Sendable {
        let line: Int
        let name: String
    }

    let path: String
    private(set) var hidden: [Hidden] = []
    private(set) var settings: [String: Setting] = [:]  // plain: asked for by our own names alone

    /// - Throws: ``LedgerSettings/Problem`` where it cannot be read, or has a line that is no
    ///   setting.
    /// - Returns: `nil` where there is no such file.
    init?(path: String) throws(Problem) {
        guard let bytes = try SettingsFile.read(path) else { return nil }
        try self.init(path: path, bytes: bytes)
    }

    init(path: String, bytes: [UInt8]) throws(Problem) {
        self.path = path
        let marked: [UInt8] = [0xEF, 0xBB, 0xBF]
        let lines = (bytes.starts(with: marked) ? bytes[marked.count...] : bytes[...])
            .split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let number = index + 1
            do throws(Problem) {
                try add(line.last == UInt8(ascii: "\r") ? line.dropLast() : line, number)
            } catch {
                throw Problem(description: "\(path), line \(number): \(error.description)")
            }
        }
    }

    private mutating func add(_ bytes: ArraySlice<UInt8>, _ number: Int) throws(Problem) {
        guard let (name, rest) = try EnvironmentLine.split(bytes) else { return }
        if let earlier = settings[name] {
            throw Problem(description: "\(name) is set in line \(earlier.line) already: remove one of them")
        }
        // Whoever's it is: what is not closed on its line takes in those behind it.
        do throws(Problem) {
            hidden += try EnvironmentLine.settings(behind: rest).map { Hidden(line: number, name: $0) }
        } catch {
            throw Problem(description: "\(name): \(error.description)")
        }
        let value: Result<String, Problem>
        do throws(Problem) {
            value = .success(try EnvironmentLine.value(rest))
        } catch {
            value = .failure(Problem(description: "\(path), line \(number): \(name): \(error.description)"))
        }
        settings[name] = Setting(line: number, value: value)
    }
}

extension LedgerSettings {
    /// A line of a file of settings that gives `name` the value.
    /// - Throws: ``Problem`` that names what no line can give, without the value.
    package static func line(_ name: String, _ value: String) throws(Problem) -> String {
        do throws(Problem) {
            return "\(name)=\(try EnvironmentLine.written(value))"
        } catch {
            throw Problem(description: "\(name): \(error.description)")
        }
    }
}
