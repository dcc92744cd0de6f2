/// A five-character error code of Postgres, as its manual's appendix A lists them.
///
/// Usable as a pattern: `catch SQLState.uniqueViolation { … }`.
package struct SQLState: Sendable, Hashable, CustomStringConvertible {
    package let code: String

    package init(_ code: String) { self.code = code }

    package var description: String { code }

    /// The first two characters: `08` connection, `22` data, `23` constraints, `40` rollback, `53`
    /// resources, `57` operators.
    package var category: String { String(code.prefix(2)) }

    package static let uniqueViolation = SQLState("23505")
    package static let serializationFailure = SQLState("40001")
    package static let deadlockDetected = SQLState("40P01")
    package static let lockNotAvailable = SQLState("55P03")
    package static let notInPrerequisiteCondition = SQLState("55000")
    package static let queryCancelled = SQLState("57014")
    package static let readOnly = SQLState("25006")
    /// The ledger demands standbys, and the server waits for none.
    package static let noStandbys = SQLState("JL022")
    package static let diskFull = SQLState("53100")
    package static let adminShutdown = SQLState("57P01")
    package static let undefinedTable = SQLState("42P01")
    package static let undefinedColumn = SQLState("42703")
    package static let undefinedFunction = SQLState("42883")
    package static let undefinedSchema = SQLState("3F000")
    package static let insufficientPrivilege = SQLState("42501")
    package static let featureNotSupported = SQLState("0A000")
    /// The server also uses it for a prepared statement whose result has changed its shape.
    static let planIsOutdated = featureNotSupported
    package static let inFailedTransaction = SQLState("25P02")
    package static let idleInTransactionTimeout = SQLState("25P03")

    /// Whether the server ends the session with this error because it shuts down, or because
    /// somebody ended it.
    var endsSession: Bool { ["57P01", "57P02"].contains(code) }

    package static func ~= (pattern: SQLState, error: any Error) -> Bool {
        (error as? PostgresError)?.sqlState == pattern
    }
}
