import Foundation
import PrivateFiles

/// The directory that has a server's socket: its own, or, where that has a path which no socket can
/// have, a short one in /tmp.
///
/// In /tmp anybody may make a directory of this name while it is away: after a stop, a restart of
/// the machine, a cleaning. So it is removed by who made it, a new start makes one with a new name,
/// and who connects there asks who listens: ``query``.
struct SocketDirectory: Sendable {
    let path: String
    /// The name of the socket's file.
    let socket: String
    let isTemporary: Bool
    private let service: ServiceDirectory

    /// What sockaddr_un has room for, less the zero byte at its end.
    private static let longestPath = 107
    /// The file there that says whose it is.
    private static let mark = "of"

    /// - Parameter name: of the server, for what is remembered in its directory.
    static func choose(_ name: String, _ socket: String, _ service: ServiceDirectory) throws -> SocketDirectory {
        let path = service.path("")
        if path.utf8.count + 1 + socket.utf8.count <= longestPath, path.utf8.allSatisfy(isPlain) {
            return SocketDirectory(path: path, socket: socket, isTemporary: false, service: service)
        }
        let memory = "\(name).socket-directory"
        // One that was killed has left it.
        if let last = try service.read(memory), last.wholeMatch(of: #/\/tmp\/jobledger-[A-Za-z0-9]{6}/#) != nil {
            let left = SocketDirectory(path: last, socket: socket, isTemporary: true, service: service)
            if try left.existing() != nil { return left }
        }
        let made = try DirectoryHandle.makeTemporary(for: service.user.owner)
        try made.write(Self.name(of: service), to: mark, for: service.user.owner)
        try service.write(made.path, to: memory)
        return SocketDirectory(path: made.path, socket: socket, isTemporary: true, service: service)
    }

    /// Makes it again where it is gone, and removes what an earlier server has left in it.
    ///
    /// The lock of a socket has the number of the server that made it, and the next believes in it
    /// as long as any process has that number.
    func prepare() throws -> DirectoryHandle {
        let directory = try existing() ?? make()
        for name in ["\(socket).lock", socket] { try directory.remove(name) }
        return directory
    }

    /// Removes it, where it is in /tmp.
    func remove() throws {
        guard isTemporary, let directory = try existing() else { return }
        for name in ["\(socket).lock", socket, Self.mark] { try directory.remove(name) }
        // With something else in it, it stays.
        _ = rmdir(path)
    }

    /// What an address says of who must listen there: in /tmp, where a stranger could. In a
    /// directory of the server's own nobody can, and the address stays one that every client
    /// understands.
    var query: String { isTemporary ? service.user.name.map { "&requirepeer=\(Self.encoded($0))" } ?? "" : "" }

    /// The same for a server that takes a number, too.
    var queryOrNumber: String { isTemporary && query.isEmpty ? "&requirepeer=\(service.user.uid)" : query }

    private func existing() throws -> DirectoryHandle? {
        guard isTemporary else { return service.handle }
        // The server's user, who may not have root remove anything anywhere else, can write what is
        // remembered.
        guard let directory = try? DirectoryHandle.findPrivate(path, of: service.user.owner), directory.path == path,
            try directory.read(Self.mark) == Self.name(of: service)
        else { return nil }
        return directory
    }

    private func make() throws -> DirectoryHandle {
        guard mkdir(path, 0o700) == 0 else {
            throw EmbeddedServiceError.system("\(path), where the socket is to be, cannot be made again", errno)
        }
        let directory = try DirectoryHandle.makePrivate(path, for: service.user.owner)
        try directory.write(Self.name(of: service), to: Self.mark, for: service.user.owner)
        return directory
    }

    /// Of the directory whose server it serves; a copy of that one has another.
    private static func name(of service: ServiceDirectory) -> String {
        "\(service.handle.identity?.number ?? 0) \(service.path(""))"
    }

    /// A comma separates hosts; the others need escapes in an address, or in a shell.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }

    private static func encoded(_ name: String) -> String {
        name.utf8.map { byte in
            isPlain(byte) && byte != UInt8(ascii: "/")
                ? String(UnicodeScalar(byte)) : "%" + String(Int(byte) + 256, radix: 16).dropFirst()
        }.joined()
    }
}
