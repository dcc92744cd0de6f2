import Foundation
package import LedgerCore

/// The settings of the program, from the environment and from files.
///
/// | variable | type | default | meaning |
/// |---|---|---|---|
/// | `DATABASE_URL` | libpq connection string | – | the ledger's Postgres |
/// | `REDIS_URL` | `redis://…`, `redis+sentinel://…` | – | the Redis to publish to; without it nothing is published, and subscribers poll |
/// | `JOBLEDGER_SCHEMA` | 1–50 of `a–z 0–9 _` | `jobledger` | the ledger: its schema, and the prefix of its channels |
/// | `JOBLEDGER_WINDOW` | integer, 1–1,000,000 | 100000 | the most events that a projector folds in one transaction |
/// | `JOBLEDGER_LONGEST_HOLD` | seconds, 5–3600 | – | how long a session may hold the log before the relay ends it; if not set, the relay only reports it |
/// | `JOBLEDGER_SEAL_KEY` | path | – | the file with the private key that seals; for the sealer alone |
/// | `JOBLEDGER_SEAL_MEMORY` | path | the key's path and `.signed` | where the sealer keeps its last signed checkpoint |
/// | `JOBLEDGER_SEAL_VERIFIER` | verifier key | – | the key that checkpoints are checked with |
/// | `JOBLEDGER_ANCHOR_AUTHORIZATION` | text | – | the header `Authorization` of `audit anchor URL` |
/// | `JOBLEDGER_LOG_LEVEL` | `trace` `debug` `info` `notice` `warning` `error` `critical` | `info` | how much is logged on standard error |
///
/// ``HTTPSettings`` has those of the HTTP service. A malformed value is an error that names its
/// variable and never falls back to the default. An unknown name that begins with `JOBLEDGER_` is
/// an error too. docs/settings.md has the grammar of the files.
package struct LedgerSettings: Sendable {
    package static let logLevels = ["trace", "debug", "info", "notice", "warning", "error", "critical"]
    /// The data directory of `jobledger up` if none is given.
    package static let standardDataDirectory = ".jobledger"

    /// A setting that is missing, malformed or unknown, or a file of settings that cannot be used.
    package struct Problem: Error, Sendable, CustomStringConvertible {
        /// The malformed setting and what is wrong with it, if the problem is with one setting.
        let setting: (name: String, mistake: String)?
        package let description: String

        package init(description: String) {
            self.description = description
            setting = nil
        }

        /// - Parameter mistake: what is wrong. It must not show the value, which may be a password.
        package init(_ name: String, _ mistake: String) {
            description = "\(name) \(mistake)"
            setting = (name, mistake)
        }
    }

    /// The `jobledger up` of the given data directory is not running.
    package struct NotRunning: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    package private(set) var databaseURL: SecretText?
    package private(set) var redisURL: SecretText?
    package let ledger: LedgerName
    package let window: Int
    package let longestHold: Duration?
    package let logLevel: String
    package let sealKey: NamedFile?
    package let sealMemory: NamedFile?
    package let sealVerifier: String?
    package let anchorAuthorization: SecretText?
    package var http: HTTPSettings

    /// Reads the settings.
    ///
    /// Without a data directory they come from the environment, then from `.env`. If neither has an
    /// address, `.jobledger/env` gives them.
    /// - Parameters:
    ///   - dataDirectory: the directory of a running `jobledger up`. Its `env` comes before the
    ///     environment and `.env`, which must not contradict it about the ledger.
    ///   - fallsBackToStandardDirectory: whether `.jobledger/env` may be read. False for
    ///     `jobledger up`, which writes it.
    /// - Throws: ``Problem`` or ``NotRunning``.
    package init(dataDirectory: String? = nil, fallsBackToStandardDirectory: Bool = true) throws {
        do {
            try GivenTexts.checkEnvironment {
                $0 == "DATABASE_URL" || $0 == "REDIS_URL" || $0.text.hasPrefix("JOBLEDGER_")
            }
        } catch {
            throw Problem(description: error.description)
        }
        let sources = SettingSources()
        if let dataDirectory {
            guard let file = try Self.environmentFile(in: dataDirectory) else {
                throw Problem(
                    description: "\(dataDirectory)/env does not exist: no ledger was started there; "
                        + "start one with jobledger up --data-dir \(dataDirectory)")
            }
            sources.add(file, isChosen: true)
        }
        // Settings that the data directory does not have, such as the log level, still come from
        // the environment.
        sources.addEnvironment(ProcessInfo.processInfo.environment)
        if let file = try EnvironmentFile(path: ".env") { sources.add(file) }
        let value = sources.value
        if dataDirectory == nil, fallsBackToStandardDirectory, try value("DATABASE_URL") == nil,
            try value("REDIS_URL") == nil,
            let file = try Self.environmentFile(in: Self.standardDataDirectory)
        {
            sources.add(file)
        }

        databaseURL = try value("DATABASE_URL").map { SecretText($0) }
        redisURL = try value("REDIS_URL").map { SecretText($0) }
        let schema = try value("JOBLEDGER_SCHEMA") ?? LedgerName.standard.text
        guard let ledger = LedgerName(schema) else {
            throw sources.located(
                Problem(
                    "JOBLEDGER_SCHEMA", "must have 1 to 50 of a–z, 0–9 and _, and start with neither a digit nor pg_"))
        }
        self.ledger = ledger
        let window = try value("JOBLEDGER_WINDOW") ?? "\(WindowSize.standard)"
        guard let window = Int(decimal: window), WindowSize.allowed.contains(window) else {
            throw sources.located(
                Problem(
                    "JOBLEDGER_WINDOW",
                    "must be an integer from \(WindowSize.allowed.lowerBound) to \(WindowSize.allowed.upperBound)"))
        }
        self.window = window
        longestHold = try value("JOBLEDGER_LONGEST_HOLD").map { text throws(Problem) in
            guard let seconds = Int(decimal: text), (5...3600).contains(seconds) else {
                throw sources.located(Problem("JOBLEDGER_LONGEST_HOLD", "must be seconds, an integer from 5 to 3600"))
            }
            return .seconds(seconds)
        }
        logLevel = try value("JOBLEDGER_LOG_LEVEL") ?? "info"
        guard Self.logLevels.contains(logLevel) else {
            throw sources.located(
                Problem("JOBLEDGER_LOG_LEVEL", "must be one of \(Self.logLevels.joined(separator: ", "))"))
        }
        do {
            sealKey = try value("JOBLEDGER_SEAL_KEY").map { try NamedFile(path: $0, setting: "JOBLEDGER_SEAL_KEY") }
            sealMemory = try value("JOBLEDGER_SEAL_MEMORY").map {
                try NamedFile(path: $0, setting: "JOBLEDGER_SEAL_MEMORY")
            }
            sealVerifier = try value("JOBLEDGER_SEAL_VERIFIER")
            anchorAuthorization = try value("JOBLEDGER_ANCHOR_AUTHORIZATION").map(Self.authorization)
            http = try HTTPSettings(value)
        } catch let problem as Problem {
            throw sources.located(problem)
        }
        try sources.refuseUnknown()
    }

    /// Checks that the text can be the value of an HTTP header.
    private static func authorization(_ text: String) throws(Problem) -> SecretText {
        guard !text.utf8.contains(where: { $0 < 0x20 && $0 != UInt8(ascii: "\t") || $0 == 0x7F }) else {
            throw Problem(
                "JOBLEDGER_ANCHOR_AUTHORIZATION",
                "has a control character, which no header can have; it may be the carriage return of a Windows line")
        }
        return SecretText(text)
    }

    private static func environmentFile(in directory: String) throws -> EnvironmentFile? {
        // `up` writes `env` first and `place` last, so `place` is checked before `env` is read.
        try DataDirectoryPlace.check(directory)
        return try EnvironmentFile(path: directory + "/env")
    }

    /// The same settings with other addresses.
    package func with(databaseURL: SecretText?, redisURL: SecretText?) -> LedgerSettings {
        var settings = self
        settings.databaseURL = databaseURL
        settings.redisURL = redisURL
        return settings
    }
}

extension LedgerSettings.Problem: ExitStatusProviding {
    package var exitStatus: ExitStatus { .usage }
}

extension LedgerSettings.NotRunning: ExitStatusProviding {
    package var exitStatus: ExitStatus { .cannotConnect }
}
