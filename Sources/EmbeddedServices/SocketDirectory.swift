import Foundation
import PrivateFiles

/// The directory with a server's socket. It is the server's own directory, or a short one in /tmp
/// if a socket cannot have that path.
///
/// After a stop, a restart of the machine or a cleaning of /tmp, anybody can make a directory of
/// the same name there. So the process that made the directory removes it, every new start chooses
/// a new name, and clients check who listens there: see ``query``.
struct SocketDirectory: Sendable {
    let path: String
    /// The file name of the socket.
    let socket: String
    let isTemporary: Bool
    private let service: ServiceDirectory

    /// The size of the path in sockaddr_un, without the zero byte at its end.
    private static let longestPath = 107
    /// The file in the directory that names the server it belongs to.
    private static let mark = "of"

    /// - Parameter name: the name of the server, for the file that keeps the path.
    static func choose(_ name: String, _ socket: String, _ service: ServiceDirectory) throws -> SocketDirectory {
        let path = service.path("")
        if path.utf8.count + 1 + socket.utf8.count <= longestPath, path.utf8.allSatisfy(isPlain) {
            return SocketDirectory(path: path, socket: socket, isTemporary: false, service: service)
        }
        let memory = "\(name).socket-directory"
        // A run that was killed left its directory behind, which is used again.
        if let last = try service.read(memory), last.wholeMatch(of: #/\/tmp\/jobledger-[A-Za-z0-9]{6}/#) != nil {
            let left = SocketDirectory(path: last, socket: socket, isTemporary: true, service: service)
            if try left.existing() != nil { return left }
        }
        let made = try DirectoryHandle.makeTemporary(for: service.user.owner)
        try made.write(Self.name(of: service), to: mark, for: service.user.owner)
        try service.write(made.path, to: memory)
        return SocketDirectory(path: made.path, socket: socket, isTemporary: true, service: service)
    }

    /// Makes the directory again if it is gone, and removes the socket and the lock of an earlier
    /// server.
    ///
    /// The lock holds the process number of that server. While any process has this number, a new
    /// server would refuse to start.
    func prepare() throws -> DirectoryHandle {
        let directory = try existing() ?? make()
        for name in ["\(socket).lock", socket] { try directory.remove(name) }
        return directory
    }

    /// Removes the directory if it is in /tmp.
    func remove() throws {
        guard isTemporary, let directory = try existing() else { return }
        for name in ["\(socket).lock", socket, Self.mark] { try directory.remove(name) }
        // A directory with other files in it stays.
        _ = rmdir(path)
    }

    /// The part of an address that says which user must listen there. It is needed in /tmp, where
    /// a stranger could listen. Nobody can in the server's own directory, so there it is left out,
    /// and every client understands the address.
    var query: String { isTemporary ? service.user.name.map { "&requirepeer=\(Self.encoded($0))" } ?? "" : "" }

    /// Like ``query``, for a client that also takes a user id in place of a name.
    var queryOrNumber: String { isTemporary && query.isEmpty ? "&requirepeer=\(service.user.uid)" : query }

    /// The directory, if it exists and belongs to this server.
    /// - Throws: `FileFailure` if it cannot be read, so that nobody knows whose it is. It is then
    ///   neither used nor replaced.
    private func existing() throws -> DirectoryHandle? {
        guard isTemporary else { return service.handle }
        // The server's user can write the file that keeps the path. So the directory is checked, or
        // that user could make root remove files elsewhere.
        guard let directory = try DirectoryHandle.findPrivate(path, of: service.user.owner), directory.path == path,
            try directory.read(Self.mark) == Self.name(of: service)
        else { return nil }
        return directory
    }

    private func make() throws -> DirectoryHandle {
        guard mkdir(path, 0o700) == 0 else {
            throw EmbeddedServiceError.system("the directory of the socket, \(path), cannot be made again", errno)
        }
        let directory = try DirectoryHandle.makePrivate(path, for: service.user.owner)
        try directory.write(Self.name(of: service), to: Self.mark, for: service.user.owner)
        return directory
    }

    /// Identifies the server's directory. A copy of the directory has another identity.
    private static func name(of service: ServiceDirectory) -> String {
        "\(service.handle.identity?.number ?? 0) \(service.path(""))"
    }

    /// Whether a character needs no escape in an address or a shell, and does not separate hosts,
    /// as a comma does.
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
