/// A five-character error code of Postgres, as its manual's appendix A lists them.
///
/// Usable as a pattern: `catch SQLState.uniqueViolation { … }`.
public struct SQLState: Sendable, Hashable, CustomStringConvertible {
    public let code: String

    public init(_ code: String) { self.code = code }

    public var description: String { code }

    /// The first two characters: `08` connection, `22` data, `23` constraints, `40` rollback, `53` resources, `57` operators.
    public var category: String { String(code.prefix(2)) }

    public static let uniqueViolation = SQLState("23505")
    public static let serializationFailure = SQLState("40001")
    public static let deadlockDetected = SQLState("40P01")
    public static let lockNotAvailable = SQLState("55P03")
    public static let queryCancelled = SQLState("57014")
    public static let readOnly = SQLState("25006")
    public static let diskFull = SQLState("53100")
    public static let adminShutdown = SQLState("57P01")
    public static let undefinedTable = SQLState("42P01")
    public static let undefinedColumn = SQLState("42703")
    public static let undefinedFunction = SQLState("42883")
    public static let undefinedSchema = SQLState("3F000")
    public static let insufficientPrivilege = SQLState("42501")
    public static let featureNotSupported = SQLState("0A000")
    /// With it the server also says that a kept statement has another answer by now.
    static let planIsOutdated = featureNotSupported
    public static let inFailedTransaction = SQLState("25P02")
    public static let idleInTransactionTimeout = SQLState("25P03")

    public static func ~= (pattern: SQLState, error: any Error) -> Bool {
        (error as? PostgresError)?.sqlState == pattern
    }
}
