import Foundation

/// A file of settings: `.env`, or the `env` of a `jobledger up`. docs/settings.md has the grammar.
///
/// A line that docker compose and shells would read differently is an error. Messages name the line
/// and never show a value, which may be a password.
struct EnvironmentFile: Sendable {
    typealias Problem = LedgerSettings.Problem

    struct Setting: Sendable {
        let line: Int
        /// The value, or why it is malformed. It is only an error if the setting is used: settings
        /// of other programs may stand here in any form.
        let value: Result<String, Problem>
    }

    /// Text that looks like a setting but follows another one on the same line: a shell reads
    /// `A=1 B=2` and `A=1; B=2` as two settings.
    struct Hidden: Sendable {
        let line: Int
        let name: String
    }

    let path: String
    private(set) var hidden: [Hidden] = []
    private(set) var settings: [String: Setting] = [:]  // plain: asked for by our own names alone

    /// - Throws: ``LedgerSettings/Problem`` if the file cannot be read, or has a malformed line.
    /// - Returns: `nil` if there is no such file.
    init?(path: String) throws(Problem) {
        guard let bytes = try SettingsFile.read(path) else { return nil }
        try self.init(path: path, bytes: bytes)
    }

    init(path: String, bytes: [UInt8]) throws(Problem) {
        self.path = path
        let byteOrderMark: [UInt8] = [0xEF, 0xBB, 0xBF]
        let lines = (bytes.starts(with: byteOrderMark) ? bytes[byteOrderMark.count...] : bytes[...])
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
            throw Problem(description: "\(name) is already set in line \(earlier.line): remove one of them")
        }
        // Also checked in settings of other programs, because an unclosed quote would swallow the
        // lines that follow.
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
    /// A line of a file of settings that sets `name` to the value.
    /// - Throws: ``Problem`` if no line can hold the value. The message does not show the value.
    package static func line(_ name: String, _ value: String) throws(Problem) -> String {
        do throws(Problem) {
            return "\(name)=\(try EnvironmentLine.written(value))"
        } catch {
            throw Problem(description: "\(name): \(error.description)")
        }
    }
}
