package import Texts

/// The address of a Redis server, the credentials, and the timeouts.
package struct RedisConfiguration: Sendable, Equatable, CustomStringConvertible {
    package enum Server: Sendable, Equatable, CustomStringConvertible {
        case tcp(host: String, port: UInt16)
        case unixSocket(path: String)

        package var description: String {
            switch self {
            case .tcp(let host, let port): "\(host.contains(":") ? "[\(host)]" : host):\(port)"
            case .unixSocket(let path): path
            }
        }
    }

    package enum Address: Sendable, Equatable {
        case server(Server)
        /// The master that Sentinels name at each connection.
        case master(RedisSentinels)

        package static func tcp(host: String, port: UInt16) -> Address { .server(.tcp(host: host, port: port)) }
        package static func unixSocket(path: String) -> Address { .server(.unixSocket(path: path)) }
    }

    package var address: Address
    /// The user, by name or number, whose process must listen on the Unix socket; nothing is sent
    /// to another user's process. `nil` accepts any.
    package var peer: String?
    /// `nil` is the server's default user.
    package var user: String?
    package var password: SecretText?
    /// Selected after connecting when not 0.
    package var database: Int
    /// The timeout of connecting, without the look-up of the host's name, which the C library
    /// bounds.
    package var connectTimeout: Duration
    /// The longest wait during which no byte moves. A long pipeline that progresses may take longer
    /// in total.
    package var replyTimeout: Duration

    package init(
        address: Address, user: String? = nil, password: String? = nil, database: Int = 0,
        connectTimeout: Duration = .seconds(5), replyTimeout: Duration = .seconds(10)
    ) {
        self.address = address
        self.user = user
        self.password = password.map { SecretText($0) }
        self.database = database
        self.connectTimeout = connectTimeout
        self.replyTimeout = replyTimeout
    }

    /// The address as a URL, without the password.
    package var description: String {
        let credentials = (user ?? "") + (password == nil ? "" : ":***")
        let who = credentials.isEmpty ? "" : credentials + "@"
        return switch address {
        case .server(.tcp(let host, let port)):
            "redis://\(who)\(Server.tcp(host: host, port: port))/\(database)"
        case .server(.unixSocket(let path)): "unix://\(who)\(path)?db=\(database)"
        case .master(let sentinels):
            "redis+sentinel://\(who)\(sentinels.places.map(\.description).joined(separator: ","))"
                + "/\(sentinels.master)/\(database)"
        }
    }

    /// The commands that start a connection.
    var greeting: [RedisCommand] {
        var commands: [RedisCommand] = []
        if let password {
            if let user {
                commands.append(RedisCommand("AUTH", user, password.revealed))
            } else {
                commands.append(RedisCommand("AUTH", password.revealed))
            }
        }
        if database != 0 { commands.append(RedisCommand("SELECT", database)) }
        // Always sent, because a server that is full or wants a password reports it now.
        commands.append(RedisCommand("PING"))
        return commands
    }
}
