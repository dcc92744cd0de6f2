import LedgerCore

/// One file of `migrations/`, in dbmate's format: `-- migrate:up` and then `-- migrate:down`, each with plain SQL.
public struct MigrationFile: Sendable, Equatable {
    /// The digits that the file's name starts with: migrations run in their order.
    public let version: ExactText
    public let name: String
    public let text: String
    public let up: String
    public let down: String

    public struct FormatError: Error, CustomStringConvertible {
        public let description: String
    }

    public init(name: String, text: String) throws(FormatError) {
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
                        description:
                            "migration \(name): \(line): a file has one -- migrate:up and then one -- migrate:down, without options"
                    )
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
