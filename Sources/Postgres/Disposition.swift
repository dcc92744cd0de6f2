/// What a failure means for whoever asked, and what he can do: docs/outages.md has the table in
/// words.
package enum Disposition: Sendable, Equatable, CaseIterable {
    /// Nothing took effect, by bad luck: the same succeeds when it is sent again.
    case retry
    /// Nothing took effect, and nothing will until time or an operator has mended the server, or
    /// our way to it.
    case outage
    /// Nobody knows whether it took effect.
    case unknown
    /// The ledger's own answer: it refuses what was asked.
    case refusal
    /// A mistake in a program. Sending the same again will not help.
    case defect
}

extension SQLState {
    /// Each class of the manual's appendix A is here, and each code that differs from its class.
    package var disposition: Disposition {
        switch code {
        // The transaction was ended for being idle, or for taking long, before its commit.
        case "25P03", "25P04", "57P05": .retry
        // A pooler has lent us another session than the one that keeps our statement, or one that
        // keeps another by its name.
        case "26000", "42P05": .retry
        // Somebody else has it at the moment.
        case "55006", "55P03": .retry
        // A disk guard or a switchover has made it read-only.
        case "25006": .outage
        // No ledger there, an older one, or one whose rights were taken away: an operator has to
        // mend that.
        case "42P01", "42883", "42703", "42501": .outage
        // No such connection, or none could be made; a statement was cancelled, by a limit or by an
        // operator; the server starts.
        case "08001", "08003", "08004", "57014", "57P03", "57P04": .outage
        case "40003": .unknown
        // Damage that the server has found in its files.
        case "XX001", "XX002": .outage
        default: dispositionOfClass
        }
    }

    private var dispositionOfClass: Disposition {
        switch category {
        // Rolled back for the sake of others; a snapshot that was kept for too long.
        case "40", "72": .retry
        // No password that holds, no such database or schema; resources, memory, disk; operators;
        // the system; its configuration.
        case "28", "3D", "3F", "53", "58", "F0": .outage
        // The connection, or the server, ended with the statement under way.
        case "08", "57": .unknown
        case "JL": .refusal
        // What is wrong with a statement, its data, or the use of a transaction; what functions
        // raise; internal errors.
        default: .defect
        }
    }

    /// Whether the session that answered so is not to be used again: it stays as it is after the
    /// server has been mended (one that began read-only goes on so), it has ended, or it is not the
    /// one that we took it for.
    package var spoilsSession: Bool {
        switch code {
        case "25006", "25P03", "25P04", "26000", "42P05", "XX001", "XX002": true
        case "57014": false
        default: ["08", "28", "3D", "53", "57", "58", "F0"].contains(category)
        }
    }

    /// Whether the same statement may well succeed when it is sent again in a moment. Not what an
    /// operator has cancelled, or must first grant or make: there waiting is for people.
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
        case .connectionLost, .timedOut, .cancelled: .unknown
        case .server: isOutdatedPlan ? .retry : sqlState?.disposition ?? .defect
        case .decoding, .usage: .defect
        }
    }
}
