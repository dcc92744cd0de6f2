/// An error of Postgres, or of the connection to it.
package struct PostgresError: Error, Sendable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// No connection could be made.
        case cannotConnect
        /// The connection broke. If a statement was under way, it may have taken effect.
        case connectionLost
        /// The server refused the statement; `sqlState` says why.
        case server
        /// The task was cancelled, and the statement with it.
        case cancelled
        /// Nothing came back within the configured silence.
        case timedOut
        /// The transaction was committed, and its wait for a standby was cancelled, or nobody knows
        /// how it ended.
        case notReplicated
        /// An answer did not have the shape that the caller expected.
        case decoding
        /// Too many tasks wait for a connection: nothing was sent.
        case busy
        /// The pool is closed: nothing was sent.
        case closed
        /// The driver was used in a way that cannot work.
        case usage
    }

    package let kind: Kind
    /// The server's primary message, or the driver's.
    package let message: String
    package internal(set) var sqlState: SQLState?
    package internal(set) var detail: String?
    package internal(set) var hint: String?
    /// The constraint that was violated, by name.
    package internal(set) var constraint: String?
    /// Where in the server's code the error was raised: the call stack of functions, innermost
    /// first.
    package internal(set) var context: String?

    /// The character of the statement that the error refers to, from 1.
    package internal(set) var textPosition: Int?

    /// Whether a failure to connect is permanent, as with a malformed connection string.
    var isPermanent = false

    /// Whether the server is one that another has taken the place of: see ``LeadingServer``.
    var isLeftBehind = false

    /// Whether another server has taken the lead since this one was asked.
    var isOvertaken = false

    /// Whether the connection string itself is wrong, so that no server was contacted.
    package internal(set) var isMistake = false

    init(_ kind: Kind, _ message: String) {
        self.kind = kind
        self.message = message
    }

    /// An answer that has the expected types but makes no sense to the caller.
    package static func unexpected(_ message: String) -> PostgresError { PostgresError(.decoding, message) }

    /// A commit has waited for a standby, and how that ended cannot be found out.
    package static func notReplicated(_ message: String) -> PostgresError { PostgresError(.notReplicated, message) }

    /// Whether a prepared statement's result had changed its shape since the server prepared it.
    /// Nothing ran, and the next use prepares it again.
    var isOutdatedPlan = false

    /// Whether sending the same again may succeed. After ``Kind/connectionLost`` the first attempt
    /// may have taken effect too: see ``outcomeIsUnknown``.
    package var isRetriable: Bool {
        switch kind {
        case .cannotConnect: !isPermanent
        case .connectionLost, .timedOut, .notReplicated: true
        case .server: isOutdatedPlan || sqlState?.isRetriable ?? false
        case .cancelled, .busy, .closed, .decoding, .usage: false
        }
    }

    /// Whether somebody else has a lock that the statement needs. It may succeed when the other is
    /// done, in another transaction.
    package var isLockConflict: Bool {
        kind == .server && [.lockNotAvailable, .deadlockDetected].contains(sqlState)
    }

    /// Whether the statement may have taken effect although it failed here.
    package var outcomeIsUnknown: Bool { disposition == .unknown }

    /// Whether the server could not be reached or went away, so that a program should reconnect.
    package var isConnectionFailure: Bool {
        switch kind {
        case .cannotConnect, .connectionLost, .timedOut: true
        case .server: sqlState?.category == "08" || ["57P01", "57P02", "57P03"].contains(sqlState?.code)
        case .notReplicated, .cancelled, .busy, .closed, .decoding, .usage: false
        }
    }

    package var description: String {
        var text = message
        if let sqlState { text += " (SQLSTATE \(sqlState))" }
        if let detail { text += "\n  detail: \(detail)" }
        if let hint { text += "\n  hint: \(hint)" }
        return text
    }
}
