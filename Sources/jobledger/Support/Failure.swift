import ArgumentParser
import Audit
import AuditTrail
import EmbeddedServices
import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import Postgres
import PrivateFiles
import Projections
import Redis
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
            Foundation.exit(isAway ? cannotConnect.rawValue : refused.rawValue)
        case is OutcomeUnknown:
            Output.diagnostic("jobledger: \(error)")
            Foundation.exit(cannotConnect.rawValue)
        case let error as RedisError:
            Output.diagnostic("jobledger: Redis: \(error)")
            Foundation.exit(error.kind == .configuration ? usage.rawValue : cannotConnect.rawValue)
        case is GivenTexts.NotText, is LedgerSettings.Problem, is ProjectionDefinition.FormatError, is KeyFile.Failure:
            Output.diagnostic("jobledger: \(error)")
            Foundation.exit(usage.rawValue)
        case let error as ValidationError:
            // Found after the command line had been parsed, so that the parser knows no command whose usage it could show.
            Output.diagnostic("Error: \(error.message)")
            Foundation.exit(usage.rawValue)
        case is CancellationError:
            Foundation.exit(130)
        case is Refusal, is Migrator.Failure, is RightsMissing, is MigrationFile.FormatError, is Rebuild.Busy,
            is Verification.NotProjected,
            is Rebuild.Obstructed, is RebuildOfAnother, is CannotFold, is ReplacedTables.None,
            is PastTables.Taken, is NewProjection.Taken, is LogFile.Refused,
            is EmbeddedServiceError, is FileFailure, is OutputClosed, is SealStopped, is SealDamaged, is SealProofs.NotSealed,
            is SealProofs.TooMuch,
            is HistoryRewritten, is AuditTrail.NotProjected, is JobCompleteness.NotComplete,
            is SignedCheckpoint.NotSigned, is CheckpointFile.Failure, is CheckpointAddress.Failure:
            if !(error is OutputClosed) { Output.diagnostic("jobledger: \(error)") }
            Foundation.exit(refused.rawValue)
        default:
            // What the argument parser throws: a mistake on the command line, or a request for help.
            let code = Jobledger.exitCode(for: error)
            let text = Jobledger.fullMessage(for: error)
            if code == .success {
                print(text)
                Foundation.exit(0)
            }
            Output.diagnostic(text)
            Foundation.exit(code == .validationFailure ? usage.rawValue : refused.rawValue)
        }
    }

    private static func explanation(of error: PostgresError) -> String {
        switch error.sqlState {
        case .undefinedFunction, .undefinedTable, .undefinedSchema:
            "\(error.message)\n  hint: is the ledger there? `jobledger migrate status` tells, `jobledger migrate` makes it; JOBLEDGER_SCHEMA names it."
        case .insufficientPrivilege:
            "\(error)\n  hint: appending needs the role SCHEMA_appender, reading SCHEMA_reader, project and rebuild SCHEMA_projector, relay SCHEMA_relay, audit seal SCHEMA_sealer; what else changes something needs SCHEMA_owner."
        default:
            error.kind == .cannotConnect
                ? "cannot connect to Postgres: \(error)\n  hint: DATABASE_URL, in the environment or in .env, says where it is; `jobledger up` starts one."
                : "Postgres: \(error)"
        }
    }
}
