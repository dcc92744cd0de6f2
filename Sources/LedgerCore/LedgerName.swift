/// A ledger's name: its schema in Postgres and the first part of its channels in Redis.
package struct LedgerName: Sendable, Hashable, CustomStringConvertible {
    package let text: String

    package static let standard = LedgerName(trusted: "jobledger")

    private init(trusted text: String) { self.text = text }

    /// `nil` unless `text` has 1 to 50 of `a–z`, `0–9` and `_`, and starts neither with a digit nor
    /// with `pg_`. Such names need no quoting anywhere, and leave room for the roles' suffixes
    /// within Postgres's 63 bytes.
    package init?(_ text: String) {
        let allowed = text.utf8.allSatisfy {
            (UInt8(ascii: "a")...UInt8(ascii: "z")).contains($0) || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0)
                || $0 == UInt8(ascii: "_")
        }
        guard allowed, (1...50).contains(text.utf8.count), !text.hasPrefix("pg_"), text.first?.isNumber == false else {
            return nil
        }
        self.text = text
    }

    package var description: String { text }

    /// The channel of one stream's events.
    package func channel(of category: Category = .job, _ id: JobID) -> ExactText { "\(text):\(category):\(id)" }
    /// The pattern of all streams' channels. ``headChannel`` has one colon only, so it is none of
    /// them.
    package var everyStream: ExactText { "\(text):*:*" }
    /// The channel on which the relay publishes the head position.
    package var headChannel: ExactText { "\(text):head" }
}
