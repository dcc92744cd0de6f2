package import LedgerCore
package import Postgres

extension PostgresConnection {
    /// Whether an event of this type is the last of its stream. For other categories than that of
    /// jobs, the rules that the ledger has now say so.
    package nonisolated func ends(_ type: EventType, of category: Category) async throws -> Bool {
        guard category != .job else { return type.isEnd }
        let statement = "SELECT ends FROM category_types WHERE category = $1 AND type = $2"
        return try await query(statement, category.text, type.rawValue).first?.decode(0) ?? false
    }
}
