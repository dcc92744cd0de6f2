/// Why a call to Redis failed.
package struct RedisError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Kind: Sendable, Equatable {
        /// The connection could not be made, or broke.
        case connection
        /// The server answered with an error; `message` is its text, which begins with a code such
        /// as `WRONGPASS`.
        case server
        /// The calling task was cancelled.
        case cancelled
        /// Nothing moved on the connection within the bound of the call.
        case timedOut
        /// The server sent what the protocol does not allow here.
        case protocolViolation
        /// The URL or an argument is wrong; nothing was sent.
        case configuration
    }

    package let kind: Kind
    /// What happened, without any password.
    package let message: String
    /// Whether the server may have executed commands of the failed call whose replies never came.
    /// When `false`, it has executed none of them.
    package let outcomeUnknown: Bool

    package init(_ kind: Kind, _ message: String, outcomeUnknown: Bool = false) {
        self.kind = kind
        self.message = message
        self.outcomeUnknown = outcomeUnknown
    }

    /// Whether the same call may succeed later. If ``outcomeUnknown``, repeating it may execute it
    /// twice.
    package var isRetriable: Bool {
        switch kind {
        case .connection, .timedOut: true
        case .server: Self.passingCodes.contains(String(message.prefix { $0 != " " }))
        case .cancelled, .protocolViolation, .configuration: false
        }
    }

    /// Codes of a server that is starting, failing over or busy.
    private static let passingCodes: Set<String> = [  // plain: words of the protocol
        "LOADING", "BUSY", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN", "READONLY",
    ]

    package var description: String {
        let what =
            switch kind {
            case .connection: "Redis connection: "
            case .server: "Redis answered: "
            case .cancelled: "Redis call cancelled: "
            case .timedOut: "Redis timed out: "
            case .protocolViolation: "Redis protocol: "
            case .configuration: "Redis configuration: "
            }
        return what + message + (outcomeUnknown ? " (whether the commands were executed is unknown)" : "")
    }

    func afterSending(_ sent: Bool) -> RedisError {
        RedisError(kind, message, outcomeUnknown: sent)
    }
}
