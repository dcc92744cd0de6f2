import EmbeddedServices
import Foundation
import LedgerSettings
import TransparencyLog

/// Where `jobledger up` keeps its state, and tells others of it.
struct DataDirectory: Sendable {
    let url: URL

    init(_ path: String) { url = URL(fileURLWithPath: path, isDirectory: true) }

    var postgres: URL { url.appending(path: "postgres", directoryHint: .isDirectory) }
    var redis: URL { url.appending(path: "redis", directoryHint: .isDirectory) }
    /// The addresses, as `NAME=value` lines.
    var env: URL { url.appending(path: "env") }
    /// The port of the HTTP service, from one start to the next.
    var port: URL { url.appending(path: "http-port") }
    /// There while everything works.
    var ready: URL { url.appending(path: "ready") }

    /// Makes the directory and takes it for this process: nothing in it is touched while another `up` has it.
    func prepare() throws -> DirectoryLock {
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        let lock = try DirectoryLock(path: url.appending(path: "lock").path, for: "The ledger in \(url.path)")
        // One that was killed could not take it away.
        try markStopped()
        return lock
    }

    /// Only the owner may read it: it has passwords.
    /// - Parameters:
    ///   - verifier: the key that checks what is sealed, if it is.
    ///   - service: the HTTP service's address and a token for it, once there is one.
    func write(_ settings: LedgerSettings, verifier: VerifierKey?, service: (url: String, token: String)? = nil) async throws {
        var lines = ["# Written by `jobledger up`."]
        if let url = settings.databaseURL { lines.append("DATABASE_URL=\(url)") }
        if let url = settings.redisURL { lines.append("REDIS_URL=\(url)") }
        lines.append("JOBLEDGER_SCHEMA=\(settings.ledger)")
        if let verifier { lines.append("JOBLEDGER_SEAL_VERIFIER=\(verifier)") }
        if let service { lines += ["JOBLEDGER_URL=\(service.url)", "JOBLEDGER_TOKEN=\(service.token)"] }
        let temporary = url.appending(path: "env.new")
        guard
            FileManager.default.createFile(
                atPath: temporary.path, contents: Data((lines.joined(separator: "\n") + "\n").utf8),
                attributes: [.posixPermissions: 0o600])
        else { throw CocoaError(.fileWriteUnknown) }
        // Renamed, so that nobody ever reads half of it.
        guard rename(temporary.path, env.path) == 0 else { throw CocoaError(.fileWriteUnknown) }
    }

    /// The token of the last run: who kept it can go on with it.
    func lastToken() -> String? {
        let text = try? String(contentsOf: env, encoding: .utf8)
        return text?.split(separator: "\n").first { $0.hasPrefix("JOBLEDGER_TOKEN=") }.map { String($0.dropFirst(16)) }
    }

    func markReady() throws { try Data().write(to: ready) }

    func markStopped() throws {
        if FileManager.default.fileExists(atPath: ready.path) { try FileManager.default.removeItem(at: ready) }
    }
}
