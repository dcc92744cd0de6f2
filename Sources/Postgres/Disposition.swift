/// What a failure means for the caller, and what the caller can do. docs/outages.md has the table
/// in words.
package enum Disposition: Sendable, Equatable, CaseIterable {
    /// Nothing took effect, for a reason that passes: the same call succeeds when it is sent again.
    case retry
    /// Nothing took effect, and nothing will until time or an operator has repaired the server or
    /// the way to it.
    case outage
    /// It is unknown whether it took effect.
    case unknown
    /// The ledger itself refused the call.
    case refusal
    /// A mistake in a program. Sending the same call again does not help.
    case defect
}

extension SQLState {
    /// Covers every class of the manual's appendix A, and each code that differs from its class.
    package var disposition: Disposition {
        switch code {
        // The transaction was ended for being idle, or for taking long, before its commit.
        case "25P03", "25P04", "57P05": .retry
        // A pooler gave us another session, which does not have our prepared statement, or has
        // another one under its name.
        case "26000", "42P05": .retry
        // Another session holds the object or lock at the moment.
        case "55006", "55P03": .retry
        // A disk guard or a switchover has made it read-only.
        case "25006": .outage
        // There is no ledger, an older one, or one whose rights were revoked. An operator must
        // repair that.
        case "42P01", "42883", "42703", "42501": .outage
        // There is no such connection, or none could be made. Or a limit or an operator cancelled a
        // statement, or the server is starting.
        case "08001", "08003", "08004", "57014", "57P03", "57P04": .outage
        // The ledger demands standbys, and the server waits for none at the moment.
        case "JL022": .outage
        case "40003": .unknown
        // The server found damage in its files.
        case "XX001", "XX002": .outage
        default: dispositionOfClass
        }
    }

    private var dispositionOfClass: Disposition {
        switch category {
        // Rolled back in favour of other transactions, or a snapshot became too old.
        case "40", "72": .retry
        // A wrong password, a missing database or schema; resources, memory or disk; operators; the
        // operating system; the configuration.
        case "28", "3D", "3F", "53", "58", "F0": .outage
        // The connection or the server ended while the statement was under way.
        case "08", "57": .unknown
        case "JL": .refusal
        // An error in a statement, in its data or in the use of a transaction; an error that a
        // function raised; an internal error.
        default: .defect
        }
    }

    /// Whether the session that returned this error must not be used again. Its state outlasts the
    /// repair of the server (a session that began read-only stays so), or it has ended, or a pooler
    /// gave us another one.
    package var spoilsSession: Bool {
        switch code {
        case "25006", "25P03", "25P04", "26000", "42P05", "XX001", "XX002": true
        case "57014": false
        default: ["08", "28", "3D", "53", "57", "58", "F0"].contains(category)
        }
    }

    /// Whether the same statement may succeed when it is sent again in a moment. False for a
    /// statement that an operator cancelled, and for rights or objects that an operator must create
    /// first: programs should not wait for people.
    package var isRetriable: Bool {
        switch code {
        case "57014", "42P01", "42883", "42703", "42501": false
        default: [.retry, .outage, .unknown].contains(disposition) && category != "3F"
        }
    }
}

extension PostgresError {
    package var disposition: Disposition {
        switch kind {
        case .cannotConnect, .busy, .closed: .outage
        case .connectionLost, .timedOut, .notReplicated, .cancelled: .unknown
        case .server: isOutdatedPlan ? .retry : sqlState?.disposition ?? .defect
        case .decoding, .usage: .defect
        }
    }
}
