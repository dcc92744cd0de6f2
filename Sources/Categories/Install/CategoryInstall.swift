package import LedgerCore
package import Postgres

/// Makes a ledger enforce categories. Of the category `job` the ledger keeps the definition only,
/// since the rules of jobs are a part of its own SQL.
package struct CategoryInstall: Sendable {
    /// The ledger does not take a definition.
    package struct Refused: Error, Sendable, CustomStringConvertible {
        package let category: LedgerName
        package let description: String

        init(_ category: LedgerName, _ error: PostgresError) {
            self.category = category
            description = "category \(category): \(CategoryDefinition.file): the ledger refuses it: \(error)"
        }
    }

    /// All that the ledger shall know, or those that are new.
    private let definitions: [CategoryDefinition]

    /// - Parameter definitions: consistent ones.
    package init(_ definitions: [CategoryDefinition]) {
        self.definitions = CategoryDefinition.inOrderOfReferences(definitions)
    }

    /// How long to wait for appends and readers of the rules, in all.
    private static let patience = Duration.seconds(30)

    /// Installs the categories whose definition differs from the installed one, all or none.
    /// Categories that the ledger has beside these stay.
    ///
    /// The ledger waits a second at a time for those who use the rules, since others wait behind
    /// it. So this tries again.
    /// - Returns: the names of those that were installed, in the order in which they were.
    /// - Throws: ``CategoryProblem`` if the server cannot read a pattern, ``Refused`` if the ledger
    ///   does not take a definition.
    @discardableResult
    package static func install(
        _ definitions: [CategoryDefinition], on connection: PostgresConnection
    ) async throws -> [LedgerName] {
        let install = CategoryInstall(definitions)
        let deadline = ContinuousClock.now.advanced(by: patience)
        while true {
            do {
                return try await connection.transaction { try await install.apply(on: $0) }
            } catch let error as PostgresError where error.isLockConflict && ContinuousClock.now < deadline {
                try await Task.sleep(for: .milliseconds(300))
            }
        }
    }

    /// The same within the connection's transaction.
    @discardableResult
    package func apply(on connection: PostgresConnection) async throws -> [LedgerName] {
        let installed = try await Self.installed(on: connection)
        let changed = definitions.filter { installed[ExactText($0.name.text)] != $0.hash }
        if let problem = try await PatternCheck.problems(of: changed, on: connection).first { throw problem }
        for definition in changed {
            do {
                try await connection.query(
                    "SELECT install_category($1::json, $2, $3)", definition.canonical, definition.hash,
                    definition.checkBody)
            } catch let error as PostgresError where Self.isAboutDefinition(error) {
                throw Refused(definition.name, error)
            }
        }
        return changed.map(\.name)
    }

    /// The hashes of the ledger's categories, by name.
    package static func installed(on connection: PostgresConnection) async throws -> [ExactText: String] {
        var hashes: [ExactText: String] = [:]
        for row in try await connection.query("SELECT name::text, hash::text FROM categories") {
            hashes[ExactText(try row.decode(0, as: String.self))] = try row.decode(1, as: String?.self)
        }
        return hashes
    }

    /// Whether the server refuses the definition, rather than whoever installs it or when.
    private static func isAboutDefinition(_ error: PostgresError) -> Bool {
        guard error.kind == .server, !error.isRetriable, !error.isConnectionFailure else { return false }
        switch error.sqlState {
        case .undefinedFunction?, .undefinedTable?, .undefinedSchema?, .insufficientPrivilege?, .readOnly?: return false
        default: return true
        }
    }
}
