/// How clients reach a private server.
package enum Listening: Sendable {
    /// By a Unix socket in a directory that only the server's user and root can enter. Nobody else
    /// can connect, or listen in its place while the server is down. The server's user is the user
    /// of this process, unless that is root.
    case unixSocket
    /// By a port of 127.0.0.1, for clients without Unix sockets. While the server is down, any
    /// local user can listen on the port and receive the passwords of clients.
    case loopback
}

/// The address on which a private server listens. It stays the same from one start to the next,
/// except for a socket in /tmp.
enum ServerAddress: Sendable {
    case unixSocket(SocketDirectory)
    case loopback(port: UInt16)

    /// - Parameters:
    ///   - name: the name of the server, for the files that keep its address.
    ///   - socket: the file name of the socket.
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
