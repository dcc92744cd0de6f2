import EmbeddedServices
import Foundation
import LedgerCore
import LedgerSettings
import PrivateFiles
import TransparencyLog

/// The directory in which `jobledger up` keeps its state and which other commands read: `env` holds
/// the addresses, `place` identifies the directory that they belong to, and `ready` exists while
/// everything works.
///
/// The directory is held by its descriptor, so nothing is ever written into another directory that
/// has been put at its path.
struct DataDirectory: Sendable {
    private let handle: DirectoryHandle
    private let lock: DirectoryLock

    var postgres: URL { url("postgres") }
    var redis: URL { url("redis") }
    /// The file with the addresses, as `NAME=value` lines.
    var env: URL { URL(fileURLWithPath: handle.path("env")) }
    var path: String { handle.path }

    private func url(_ name: String) -> URL { URL(fileURLWithPath: handle.path(name), isDirectory: true) }

    /// Creates the directory if needed and locks it for this process. While another `up` holds the
    /// lock, nothing in the directory is touched.
    init(taking path: String) throws {
        let path = URL(fileURLWithPath: path, isDirectory: true).path
        // A directory that also holds other people's files keeps its mode. The files that this
        // program puts there are private by their own mode.
        handle = try PrivateServers.directory(path) { names in !names.allSatisfy(Self.isOurs) }
        lock = try DirectoryLock(path: handle.path("lock"), for: "The ledger in \(path)")
        // A run that was killed left this file behind.
        try handle.remove(Self.ready)
        if let place = try DataDirectoryPlace.read(in: handle), place.isElsewhere(than: handle) { try forgetOriginal() }
    }

    /// Removes the addresses, the token and the ports that a copied directory has from its
    /// original. If the copy took over the port of an original that is down, it would receive the
    /// events of the original's clients.
    private func forgetOriginal() throws {
        for name in ["env", Self.port] { try handle.remove(name) }
        for name in ["postgres", "redis"] { try PrivateServers.forgetPort(of: name, in: handle) }
    }

    /// - Throws: ``DirectoryLost`` if the path no longer leads to the directory that was locked.
    func requireHeld() throws { try lock.requireHeld() }

    /// Writes `env` and `place`.
    /// - Parameters:
    ///   - verifier: the key that checks the seal; `nil` if the ledger is not sealed here.
    ///   - sockets: the socket directories of the private servers that lie in /tmp.
    ///   - service: the address of the HTTP service and a token for it, once it listens.
    func write(
        _ settings: LedgerSettings, verifier: VerifierKey?, sockets: [TemporarySockets],
        service: (url: String, token: String)? = nil
    ) throws {
        var lines = ["# Written by `jobledger up`."] + (try Self.addresses(settings))
        lines.append("JOBLEDGER_SCHEMA=\(settings.ledger)")
        if let verifier { lines.append("JOBLEDGER_SEAL_VERIFIER=\(verifier)") }
        if let service { lines += ["JOBLEDGER_URL=\(service.url)", "JOBLEDGER_TOKEN=\(service.token)"] }
        // The file holds passwords; this writes it private, and whole or not at all.
        try handle.write(lines.joined(separator: "\n") + "\n", to: "env")
        // Written last, because readers check it first: an `env` without a matching `place` is
        // rejected.
        try DataDirectoryPlace(handle, sockets: sockets.map { .init(path: $0.path, owner: $0.owner) }).write(in: handle)
    }

    /// The addresses as lines of `env`.
    /// - Throws: ``LedgerSettings/Problem`` if an address cannot be written on one line.
    static func addresses(_ settings: LedgerSettings) throws -> [String] {
        try [("DATABASE_URL", settings.databaseURL), ("REDIS_URL", settings.redisURL)].compactMap { name, url in
            try url.map { try LedgerSettings.line(name, $0.revealed) }
        }
    }

    /// The token of the last run, so that clients that stored it can go on using it.
    func lastToken() throws -> String? {
        let text = try handle.read("env")
        return text?.split(separator: "\n").first { $0.hasPrefix("JOBLEDGER_TOKEN=") }.map { String($0.dropFirst(16)) }
    }

    /// A port for the HTTP service: the port of the last start if that is free.
    func choosePort() throws -> Int { Int(try LocalPort.choose(rememberedIn: Self.port, of: handle)) }

    private static let (ready, port) = ("ready", "http-port")

    /// Whether this program creates files of this name, or the file system does (`lost+found`).
    private static func isOurs(_ name: String) -> Bool {
        let names = [
            "env", "http-port", "lock", DataDirectoryPlace.file, "postgres", "ready", "redis", "seal.key", "lost+found",
        ]
        return names.contains(name) || name.hasPrefix("seal.key.") || name.hasSuffix(".new") || name.hasSuffix(".log")
    }

    func markReady() throws { try handle.write("", to: Self.ready) }

    func markStopped() throws { try handle.remove(Self.ready) }
}
