import ArgumentParser
import AuditTrail
import Diagnostics
import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import Postgres
import PrivateFiles
import Projections
import Redis
import Seal
import TransparencyLog

/// How errors end the program.
enum Failure {
    static let refused = ExitCode(1)
    static let usage = ExitCode(2)
    static let cannotConnect = ExitCode(3)

    static func exit(with error: any Error) -> Never {
        switch error {
        case let code as ExitCode:
            Foundation.exit(code.rawValue)
        case let error as PostgresError:
            Output.diagnostic("jobledger: \(explanation(of: error))")
            let isAway = error.isConnectionFailure || error.isRetriable
            Foundation.exit(error.isMistake ? usage.rawValue : isAway ? cannotConnect.rawValue : refused.rawValue)
        case is OutcomeUnknown, is CheckpointAddress.Unreachable, is LedgerSettings.NotRunning:
            Output.diagnostic("jobledger: \(error)")
            Foundation.exit(cannotConnect.rawValue)
        case let error as RedisError:
            Output.diagnostic("jobledger: Redis: \(error)")
            Foundation.exit(error.kind == .configuration ? usage.rawValue : cannotConnect.rawValue)
        case is GivenTexts.NotText, is LedgerSettings.Problem, is ProjectionDefinition.FormatError, is KeyFile.Failure:
            Output.diagnostic("jobledger: \(error)")
            Foundation.exit(usage.rawValue)
        case let error as ValidationError:
            // Found after the command line had been parsed, so that the parser knows no command
            // whose usage it could show.
            Output.diagnostic("Error: \(error.message)")
            Foundation.exit(usage.rawValue)
        case is CancellationError:
            Foundation.exit(130)
        case is Refusal, is Migrator.Failure, is RightsMissing, is MigrationFile.FormatError, is Rebuild.Busy,
            is Verification.NotProjected,
            is Rebuild.Obstructed, is RebuildOfAnother, is FoldFailure, is ReplacedTables.None,
            is AsOfTables.Taken, is NewProjection.Taken, is LogFile.Refused,
            is EmbeddedServiceError, is DirectoryLost, is FileFailure, is SealStopped, is SealDamaged,
            is SealProofs.NotSealed,
            is SealProofs.TooMuch,
            is HistoryRewritten, is AuditTrail.NotProjected, is JobCompleteness.NotComplete,
            is SignedCheckpoint.NotSigned, is CheckpointFile.Failure, is CheckpointAddress.Failure:
            Output.diagnostic("jobledger: \(error)")
            Foundation.exit(refused.rawValue)
        case let error as StandardOutput.Closed:
            // Who has seen enough, as `head` has, is told nothing.
            if !error.isByReader { Output.diagnostic("jobledger: \(error)") }
            Foundation.exit(refused.rawValue)
        default:
            // What the argument parser throws: a mistake on the command line, or a request for
            // help.
            let code = Jobledger.exitCode(for: error)
            switch code {
            case .success:
                do {
                    try Output.line(Jobledger.fullMessage(for: error))
                } catch {
                    exit(with: error)
                }
            case .validationFailure: Output.diagnostic(Jobledger.fullMessage(for: error))
            default: Output.diagnostic("jobledger: \(words(for: error))")
            }
            Foundation.exit(code == .success ? 0 : code == .validationFailure ? usage.rawValue : refused.rawValue)
        }
    }

    /// What Foundation says of a file, in the words of the system: its own are for programs.
    private static func words(for error: any Error) -> String {
        if let error = error as? DecodingError { return "a text is not the JSON that was expected: \(error.summary)" }
        let system = error as NSError
        guard [NSCocoaErrorDomain, NSPOSIXErrorDomain].contains(system.domain) else { return "\(error)" }
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
            "\(error.message)\n  hint: is the ledger there? `jobledger migrate status` tells, `jobledger migrate` makes it; JOBLEDGER_SCHEMA names it."
        case .insufficientPrivilege:
            "\(error)\n  hint: appending needs the role SCHEMA_appender, reading SCHEMA_reader, project and rebuild SCHEMA_projector, relay SCHEMA_relay, audit seal SCHEMA_sealer; what else changes something needs SCHEMA_owner."
        default:
            error.isMistake
                ? "DATABASE_URL: \(error)"
                : error.kind == .cannotConnect
                    ? "cannot connect to Postgres: \(error)\n  hint: DATABASE_URL, in the environment or in .env, says where it is; `jobledger up` starts one."
                    : "Postgres: \(error)"
        }
    }
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
