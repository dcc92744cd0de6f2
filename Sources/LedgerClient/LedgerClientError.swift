import AsyncHTTPClient

/// Why a call came to nothing, where it was not the ledger that refused it: that is a
/// ``/LedgerCore/Refusal``.
public struct LedgerClientError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        /// The client was made with something that cannot work.
        case configuration
        /// No connection, or none that lasted until the answer. An append may have been written:
        /// send it again with the same event ids.
        case unreachable
        /// The service says that it cannot do it now.
        case unavailable
        /// The token is missing, wrong or revoked, or lacks a scope.
        case unauthorized
        /// The position is beyond the log's end: the ledger was restored, or is another one.
        case anotherLedger
        /// The history is not the one that was seen before: see ``/TransparencyLog/Witness``.
        case historyRewritten
        /// The service answered something else: its problem's code, such as `invalid_request`.
        case refused(code: String)
        /// The answer is none of a ledger's.
        case notUnderstood
    }

    public let kind: Kind
    public let message: String
    /// How long the service asks to wait before the next attempt.
    public var retryAfter: Duration?

    public init(_ kind: Kind, _ message: String, retryAfter: Duration? = nil) {
        self.kind = kind
        self.message = message
        self.retryAfter = retryAfter
    }

    /// An error of the client that sends requests, told without what was sent: there is the token
    /// in it.
    static func unreachable(_ url: String, _ error: any Error) -> LedgerClientError {
        LedgerClientError(
            .unreachable, "\(url) does not answer: \((error as? HTTPClientError)?.shortDescription ?? "\(error)")")
    }

    /// Whether the same call may succeed later.
    public var isRetriable: Bool { kind == .unreachable || kind == .unavailable }

    public var description: String { message }
}
