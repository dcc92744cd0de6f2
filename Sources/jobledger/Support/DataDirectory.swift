import EmbeddedServices
import Foundation
import LedgerCore
import LedgerSettings
import PrivateFiles
import TransparencyLog

/// Where `jobledger up` keeps its state, and tells others of it: `env` has the addresses, `place`
/// says where those belong, and `ready` is there while everything works.
///
/// It is held by its descriptor: nothing is written into another that has taken its place.
struct DataDirectory: Sendable {
    private let handle: DirectoryHandle
    private let lock: DirectoryLock

    var postgres: URL { url("postgres") }
    var redis: URL { url("redis") }
    /// The addresses, as `NAME=value` lines.
    var env: URL { URL(fileURLWithPath: handle.path("env")) }
    var path: String { handle.path }

    private func url(_ name: String) -> URL { URL(fileURLWithPath: handle.path(name), isDirectory: true) }

    /// Makes the directory and takes it for this process: nothing in it is touched while another
    /// `up` has it.
    init(taking path: String) throws {
        let path = URL(fileURLWithPath: path, isDirectory: true).path
        // One that has other things too is not ours to close; what we put there is closed by
        // itself.
        handle = try PrivateServers.directory(path) { names in !names.allSatisfy(Self.isOurs) }
        lock = try DirectoryLock(path: handle.path("lock"), for: "The ledger in \(path)")
        // One that was killed could not take it away.
        try handle.remove(Self.ready)
        if let place = try DataDirectoryPlace.read(in: handle), place.isElsewhere(than: handle) { try forgetOriginal() }
    }

    /// What was copied with the directory is the original's: its addresses, and its token. A copy
    /// that took the port of an original which is down would be sent its events.
    private func forgetOriginal() throws {
        for name in ["env", Self.port] { try handle.remove(name) }
        for name in ["postgres", "redis"] { try PrivateServers.forgetPort(of: name, in: handle) }
    }

    /// - Throws: ``DirectoryLost`` where the directory is no longer the one that was taken.
    func requireHeld() throws { try lock.requireHeld() }

    /// - Parameters:
    ///   - verifier: the key that checks what is sealed, if it is.
    ///   - sockets: those of the private servers that are in /tmp.
    ///   - service: the HTTP service's address and a token for it, once there is one.
    func write(
        _ settings: LedgerSettings, verifier: VerifierKey?, sockets: [TemporarySockets],
        service: (url: String, token: String)? = nil
    ) throws {
        var lines = ["# Written by `jobledger up`."] + (try Self.addresses(settings))
        lines.append("JOBLEDGER_SCHEMA=\(settings.ledger)")
        if let verifier { lines.append("JOBLEDGER_SEAL_VERIFIER=\(verifier)") }
        if let service { lines += ["JOBLEDGER_URL=\(service.url)", "JOBLEDGER_TOKEN=\(service.token)"] }
        // It has passwords, and nobody ever reads half of it.
        try handle.write(lines.joined(separator: "\n") + "\n", to: "env")
        // Last: whoever reads looks at it first, and believes in no env of another place.
        try DataDirectoryPlace(handle, sockets: sockets.map { .init(path: $0.path, owner: $0.owner) }).write(in: handle)
    }

    /// - Throws: ``LedgerSettings/Problem`` where an address cannot be written into a line.
    static func addresses(_ settings: LedgerSettings) throws -> [String] {
        try [("DATABASE_URL", settings.databaseURL), ("REDIS_URL", settings.redisURL)].compactMap { name, url in
            try url.map { try LedgerSettings.line(name, $0.revealed) }
        }
    }

    /// The token of the last run: who kept it can go on with it.
    func lastToken() throws -> String? {
        let text = try handle.read("env")
        return text?.split(separator: "\n").first { $0.hasPrefix("JOBLEDGER_TOKEN=") }.map { String($0.dropFirst(16)) }
    }

    /// A port for the HTTP service: that of the last start where it is free.
    func choosePort() throws -> Int { Int(try LocalPort.choose(rememberedIn: Self.port, of: handle)) }

    private static let (ready, port) = ("ready", "http-port")

    /// Whether it is a name that we give, or one that a file system has by itself.
    private static func isOurs(_ name: String) -> Bool {
        let names = [
            "env", "http-port", "lock", DataDirectoryPlace.file, "postgres", "ready", "redis", "seal.key", "lost+found",
        ]
        return names.contains(name) || name.hasPrefix("seal.key.") || name.hasSuffix(".new") || name.hasSuffix(".log")
    }

    func markReady() throws { try handle.write("", to: Self.ready) }

    func markStopped() throws { try handle.remove(Self.ready) }
}
