import AsyncHTTPClient
public import LedgerCore

/// Why a call failed, unless the ledger refused the event: that is a ``/LedgerCore/Refusal``.
public struct LedgerClientError: Error, Sendable, Equatable, CustomStringConvertible {
    public enum Kind: Sendable, Equatable {
        /// The client's configuration is invalid.
        case configuration
        /// No connection could be made, or none lasted until the answer. An append may have been
        /// written: send it again with the same event ids.
        case unreachable
        /// The service cannot answer the request now. An append may have been written: send it
        /// again with the same event ids.
        case unavailable
        /// The events are written and have not reached the level of durability in time: a failover
        /// may lose them. Sending them again with the same event ids waits on.
        case notDurable
        /// The token is missing, wrong or revoked, or lacks a scope.
        case unauthorized
        /// The ledger was restored or re-created: the position is beyond its end.
        case anotherLedger
        /// The ledger lost events that the client has: see ``LedgerClientError/divergence``.
        case diverged
        /// The history is not the one that was seen before: see ``/TransparencyLog/Witness``.
        case historyRewritten
        /// The service refused the request for another reason, with this code, such as
        /// `invalid_request`.
        case refused(code: String)
        /// The answer is not one that a ledger's service gives.
        case notUnderstood
    }

    public let kind: Kind
    public let message: String
    /// How long the service asks the client to wait before the next attempt.
    public var retryAfter: Duration?
    /// What the ledger still has of the client's history. Only with ``Kind/diverged``.
    public var divergence: Divergence?

    public init(_ kind: Kind, _ message: String, retryAfter: Duration? = nil) {
        self.kind = kind
        self.message = message
        self.retryAfter = retryAfter
    }

    /// An error of the HTTP client, described without the request, which contains the token.
    static func unreachable(_ url: String, _ error: any Error) -> LedgerClientError {
        LedgerClientError(
            .unreachable, "\(url) does not answer: \((error as? HTTPClientError)?.shortDescription ?? "\(error)")")
    }

    /// Whether the same call may succeed later.
    public var isRetriable: Bool { [.unreachable, .unavailable, .notDurable].contains(kind) }

    public var description: String { message }
}
