import ArgumentParser
import Diagnostics
import Foundation
package import LedgerCore
import Postgres
import Redis

/// Ends the program after an error: with a message on standard error, and an exit status that the
/// type of the error gives (see ``ExitStatusProviding``).
enum Failure {
    /// Thrown by a command that has already printed why it failed.
    static let refused = ExitCode(ExitStatus.refused.rawValue)

    /// What shells expect of a program that Ctrl-C ended: 128 and the number of SIGINT.
    private static let interrupted: Int32 = 130

    static func exit(with error: any Error) -> Never {
        switch error {
        case let code as ExitCode:
            Foundation.exit(code.rawValue)
        case is CancellationError:
            Foundation.exit(interrupted)
        case let error as StandardOutput.Closed where error.isByReader:
            // A reader such as `head` has seen enough and needs no message.
            end(.refused)
        case let error as ValidationError:
            // Thrown while the command runs, when the parser no longer knows which usage to show.
            Output.diagnostic("Error: \(error.message)")
            end(.usage)
        case let error as any ExitStatusProviding:
            Output.diagnostic("jobledger: \(message(of: error))")
            end(error.exitStatus)
        default:
            exitByParser(with: error)
        }
    }

    private static func end(_ status: ExitStatus) -> Never { Foundation.exit(status.rawValue) }

    /// Handles what the argument parser throws, a mistake on the command line or a request for
    /// help, and every error that does not say an exit status.
    private static func exitByParser(with error: any Error) -> Never {
        switch Jobledger.exitCode(for: error) {
        case .success:
            do {
                try Output.line(Jobledger.fullMessage(for: error))
            } catch {
                exit(with: error)
            }
            Foundation.exit(0)
        case .validationFailure:
            Output.diagnostic(Jobledger.fullMessage(for: error))
            end(.usage)
        default:
            Output.diagnostic("jobledger: \(message(of: error))")
            end(.refused)
        }
    }

    private static func message(of error: any Error) -> String {
        switch error {
        case let error as PostgresError: explanation(of: error)
        case let error as DecodingError: "a text is not the JSON that was expected: \(error.summary)"
        default: systemMessage(of: error) ?? "\(error)"
        }
    }

    /// The path and the system's reason, if the error is one of Foundation about a file.
    /// Foundation's own description of such an error is meant for programmers.
    private static func systemMessage(of error: any Error) -> String? {
        let system = error as NSError
        guard [NSCocoaErrorDomain, NSPOSIXErrorDomain].contains(system.domain) else { return nil }
        let path = system.userInfo[NSFilePathErrorKey] as? String ?? (system.userInfo[NSURLErrorKey] as? URL)?.path
        let cause = system.userInfo[NSUnderlyingErrorKey] as? NSError
        let code = [system, cause].compactMap(\.self).first { $0.domain == NSPOSIXErrorDomain }?.code
        let reason =
            code.map { String(cString: strerror(Int32(truncatingIfNeeded: $0))) } ?? system.localizedDescription
        return (path.map { "\($0): " } ?? "") + reason
    }

    private static func explanation(of error: PostgresError) -> String {
        switch error.sqlState {
        case .undefinedFunction, .undefinedTable, .undefinedSchema:
            """
            \(error.message)
              hint: does the ledger exist? `jobledger migrate status` shows it, `jobledger migrate` makes it; \
            JOBLEDGER_SCHEMA names it.
            """
        case .insufficientPrivilege:
            """
            \(error)
              hint: appending needs the role SCHEMA_appender, reading SCHEMA_reader, project and rebuild \
            SCHEMA_projector, relay SCHEMA_relay, audit seal SCHEMA_sealer; every other change needs SCHEMA_owner.
            """
        default:
            if error.isMistake {
                "DATABASE_URL: \(error)"
            } else if error.kind == .cannotConnect {
                """
                cannot connect to Postgres: \(error)
                  hint: set DATABASE_URL, in the environment or in .env, to its address; `jobledger up` starts one.
                """
            } else {
                "Postgres: \(error)"
            }
        }
    }
}

// The drivers and the module of texts know nothing of the command line, so their errors get an exit
// status here. Every other type conforms where it is declared.

extension PostgresError: ExitStatusProviding {
    package var exitStatus: ExitStatus {
        if isMistake { return .usage }
        return isConnectionFailure || isRetriable ? .cannotConnect : .refused
    }
}

extension RedisError: ExitStatusProviding {
    package var exitStatus: ExitStatus { kind == .configuration ? .usage : .cannotConnect }
}

extension GivenTexts.NotText: ExitStatusProviding {
    package var exitStatus: ExitStatus { .usage }
}

extension DecodingError {
    fileprivate var summary: String {
        switch self {
        case .typeMismatch(_, let context), .valueNotFound(_, let context), .keyNotFound(_, let context),
            .dataCorrupted(let context):
            context.debugDescription
        @unknown default: "it cannot be read"
        }
    }
}
