/// How programs reach a private server.
package enum Listening: Sendable {
    /// By a Unix socket in a directory that only the server's user, who is ours unless we are root,
    /// and root can enter: nobody else can connect to it, nor listen in its place while it is away.
    case unixSocket
    /// By a port of 127.0.0.1, for clients that know no sockets. While the server is away any local
    /// user can listen there, and is sent the passwords of those who connect.
    case loopback
}

/// Where a private server listens. It is the same from one start to the next, but for a socket in
/// /tmp.
enum ServerAddress: Sendable {
    case unixSocket(SocketDirectory)
    case loopback(port: UInt16)

    /// - Parameters:
    ///   - name: of the server, for what is remembered in its directory.
    ///   - socket: the name of the socket's file.
    static func choose(_ listening: Listening, of name: String, socket: String, in directory: ServiceDirectory) throws
        -> ServerAddress
    {
        switch listening {
        case .unixSocket: .unixSocket(try SocketDirectory.choose(name, socket, directory))
        case .loopback:
            .loopback(
                port: try LocalPort.choose(
                    rememberedIn: portFile(name), of: directory.handle, for: directory.user.owner))
        }
    }

    static func portFile(_ name: String) -> String { "\(name).port" }

    var port: UInt16? {
        if case .loopback(let port) = self { port } else { nil }
    }

    var sockets: SocketDirectory? {
        if case .unixSocket(let directory) = self { directory } else { nil }
    }
}
