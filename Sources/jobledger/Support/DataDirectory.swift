import Foundation
import LedgerSettings

/// Where `jobledger up` keeps its state, and tells others of it.
struct DataDirectory: Sendable {
    let url: URL

    init(_ path: String) { url = URL(fileURLWithPath: path, isDirectory: true) }

    var postgres: URL { url.appending(path: "postgres", directoryHint: .isDirectory) }
    var redis: URL { url.appending(path: "redis", directoryHint: .isDirectory) }
    /// The addresses, as `NAME=value` lines.
    var env: URL { url.appending(path: "env") }
    /// There while everything works.
    var ready: URL { url.appending(path: "ready") }

    func prepare() throws {
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        // One that was killed could not take it away.
        try markStopped()
    }

    /// Only the owner may read it: it has passwords.
    func write(_ settings: LedgerSettings) async throws {
        var lines = ["# Written by `jobledger up`."]
        if let url = settings.databaseURL { lines.append("DATABASE_URL=\(url)") }
        if let url = settings.redisURL { lines.append("REDIS_URL=\(url)") }
        lines.append("JOBLEDGER_SCHEMA=\(settings.ledger)")
        let temporary = url.appending(path: "env.new")
        guard
            FileManager.default.createFile(
                atPath: temporary.path, contents: Data((lines.joined(separator: "\n") + "\n").utf8),
                attributes: [.posixPermissions: 0o600])
        else { throw CocoaError(.fileWriteUnknown) }
        // Renamed, so that nobody ever reads half of it.
        guard rename(temporary.path, env.path) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    func markReady() throws { try Data().write(to: ready) }

    func markStopped() throws {
        if FileManager.default.fileExists(atPath: ready.path) { try FileManager.default.removeItem(at: ready) }
    }
}
