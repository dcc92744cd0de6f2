import EmbeddedServices
import Foundation
import LedgerCore
import LedgerSettings
import PrivateFiles
import TransparencyLog

/// Where `jobledger up` keeps its state, and tells others of it: `env` has the addresses, and `ready` is there while everything works.
struct DataDirectory: Sendable {
    let url: URL

    init(_ path: String) { url = URL(fileURLWithPath: path, isDirectory: true) }

    var postgres: URL { url.appending(path: "postgres", directoryHint: .isDirectory) }
    var redis: URL { url.appending(path: "redis", directoryHint: .isDirectory) }
    /// The addresses, as `NAME=value` lines.
    var env: URL { url.appending(path: "env") }

    /// Makes the directory and takes it for this process: nothing in it is touched while another `up` has it.
    func prepare() throws -> DirectoryLock {
        // One that has other things too is not ours to close; what we put there is closed by itself.
        let handle = try PrivateServers.directory(url.path) { names in !names.allSatisfy(Self.isOurs) }
        let lock = try DirectoryLock(path: handle.path("lock"), for: "The ledger in \(url.path)")
        // One that was killed could not take it away.
        try handle.remove(Self.ready)
        return lock
    }

    /// - Parameters:
    ///   - verifier: the key that checks what is sealed, if it is.
    ///   - service: the HTTP service's address and a token for it, once there is one.
    func write(_ settings: LedgerSettings, verifier: VerifierKey?, service: (url: String, token: String)? = nil) throws {
        var lines = ["# Written by `jobledger up`."]
        if let url = settings.databaseURL { lines.append("DATABASE_URL=\(url.revealed)") }
        if let url = settings.redisURL { lines.append("REDIS_URL=\(url.revealed)") }
        lines.append("JOBLEDGER_SCHEMA=\(settings.ledger)")
        if let verifier { lines.append("JOBLEDGER_SEAL_VERIFIER=\(verifier)") }
        if let service { lines += ["JOBLEDGER_URL=\(service.url)", "JOBLEDGER_TOKEN=\(service.token)"] }
        // It has passwords, and nobody ever reads half of it.
        try handle().write(lines.joined(separator: "\n") + "\n", to: "env")
    }

    /// The token of the last run: who kept it can go on with it.
    func lastToken() throws -> String? {
        let text = try handle().read("env")
        return text?.split(separator: "\n").first { $0.hasPrefix("JOBLEDGER_TOKEN=") }.map { String($0.dropFirst(16)) }
    }

    /// A port for the HTTP service: that of the last start where it is free.
    func choosePort() throws -> Int { Int(try LocalPort.choose(rememberedIn: "http-port", of: try handle())) }

    private func handle() throws -> DirectoryHandle { try DirectoryHandle(url.path) }

    private static let ready = "ready"

    /// Whether it is a name that we give, or one that a file system has by itself.
    private static func isOurs(_ name: String) -> Bool {
        let names = ["env", "http-port", "lock", "postgres", "ready", "redis", "seal.key", "lost+found"]
        return names.contains(name) || name.hasPrefix("seal.key.") || name.hasSuffix(".new") || name.hasSuffix(".log")
    }

    func markReady() throws { try handle().write("", to: Self.ready) }

    func markStopped() throws { try handle().remove(Self.ready) }
}
