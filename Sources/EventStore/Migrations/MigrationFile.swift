import Crypto
package import LedgerCore

/// One file of `migrations/`, in dbmate's format: `-- migrate:up` and then `-- migrate:down`, each
/// with plain SQL.
package struct MigrationFile: Sendable, Equatable {
    /// The digits at the start of the file's name. Migrations run in the order of versions.
    package let version: ExactText
    package let name: String
    package let text: String
    package let up: String
    package let down: String

    /// The SHA-256 of the file's text, in hexadecimal.
    var checksum: String { SHA256.hash(data: Array(text.utf8)).hexadecimal }

    package struct FormatError: Error, CustomStringConvertible {
        package let description: String
    }

    package init(name: String, text: String) throws(FormatError) {
        self.name = name
        self.text = text
        version = ExactText(name.prefix { $0.isASCII && $0.isNumber })
        guard !version.isEmpty, name.hasSuffix(".sql") else {
            throw FormatError(description: "migration \(name): the name must be NUMBER_what.sql")
        }
        var (up, down): (String?, String?)
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            if line.hasPrefix("-- migrate:") {
                switch line {
                case "-- migrate:up" where up == nil: up = ""
                case "-- migrate:down" where up != nil && down == nil: down = ""
                default:
                    throw FormatError(
                        description: """
                            migration \(name): \(line): a file has one -- migrate:up and then one \
                            -- migrate:down, without options
                            """)
                }
            } else if down != nil {
                down! += line + "\n"
            } else if up != nil {
                up! += line + "\n"
            }
        }
        guard let up, let down else {
            throw FormatError(description: "migration \(name): -- migrate:up or -- migrate:down is missing")
        }
        (self.up, self.down) = (up, down)
    }
}
