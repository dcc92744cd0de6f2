import Foundation
import PrivateFiles

/// How programs reach a private server.
public enum Listening: Sendable {
    /// By a Unix socket in a directory that only the server's user, who is ours unless we are root, and root can enter: nobody else can
    /// connect to it, nor listen in its place while it is away.
    case unixSocket
    /// By a port of 127.0.0.1, for clients that know no sockets. While the server is away any local user can listen there, and is sent the
    /// passwords of those who connect.
    case loopback
}

/// Where a private server listens, the same from one start to the next.
enum ServerAddress: Sendable, Equatable {
    /// The directory that has the socket.
    case unixSocket(directory: String)
    case loopback(port: UInt16)

    /// - Parameters:
    ///   - name: of the server, for what is remembered in its directory.
    ///   - socket: the name of the socket's file.
    static func choose(_ listening: Listening, of name: String, socket: String, in directory: ServiceDirectory) throws
        -> ServerAddress
    {
        switch listening {
        case .unixSocket: .unixSocket(directory: try socketDirectory(name, socket, directory))
        case .loopback:
            .loopback(port: try LocalPort.choose(rememberedIn: "\(name).port", of: directory.handle, for: directory.user.owner))
        }
    }

    var port: UInt16? {
        if case .loopback(let port) = self { port } else { nil }
    }

    /// What sockaddr_un has room for, less the zero byte at its end.
    private static let longestPath = 107

    /// The server's own directory. Where its path is too long for a socket, or has characters that mean something in an address, a short one
    /// in /tmp, made anew where the last one is gone.
    private static func socketDirectory(_ name: String, _ socket: String, _ directory: ServiceDirectory) throws -> String {
        let path = directory.path("")
        if path.utf8.count + 1 + socket.utf8.count <= longestPath, path.utf8.allSatisfy(isPlain) { return path }
        let memory = "\(name).socket-directory"
        if let last = directory.read(memory), isOurs(last, directory.user) { return last }
        let made = try DirectoryHandle.makeTemporary(for: directory.user.owner)
        try directory.write(made.path, to: memory)
        return made.path
    }

    /// Whether nobody but the server's user and root can have made it, or can be in it. It is made again where it was cleared away.
    private static func isOurs(_ path: String, _ user: ServiceUser) -> Bool {
        // The server's user, who may not have root make a directory for him anywhere else, can write what we read here.
        guard path.wholeMatch(of: #/\/tmp\/jobledger-[A-Za-z0-9]{6}/#) != nil,
            let directory = try? DirectoryHandle.makePrivate(path, for: user.owner)
        else { return false }
        return directory.path == path
    }

    /// A comma separates hosts; the others need escapes in an address, or in a shell.
    private static func isPlain(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
            UInt8(ascii: "/"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "-"):
            true
        default: false
        }
    }
}
