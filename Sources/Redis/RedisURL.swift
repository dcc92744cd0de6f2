import Texts

extension RedisConfiguration {
    /// Reads `redis://[user][:password]@host[:port][/db]`,
    /// `redis+sentinel://[user][:password]@host[:port],host[:port]…/master[/db][?sentinel_password=…]`
    /// or `unix://[[user]:password@]/path[?db=n][&requirepeer=user]`, percent-encoded.
    ///
    /// With `redis+sentinel` the hosts are Sentinels, whose default port is 26379, and `master` is
    /// the name under which they watch the server. The user and the password in front are the
    /// server's.
    ///
    /// `requirepeer` works as in libpq: the user whose process must listen there. The default port
    /// is 6379, the default database 0. Messages name the wrong part and never show it: in a URL
    /// whose password has an unencoded `/` or `@`, any part may contain a piece of the password.
    package init(url: String) throws(RedisError) {
        guard let colon = url.range(of: "://") else { throw Self.wrong("the URL has no scheme such as redis://") }
        let rest = url[colon.upperBound...]
        switch url[..<colon.lowerBound].lowercased() {
        case "redis": try self.init(tcp: rest)
        case "redis+sentinel": try self.init(sentinels: rest)
        case "unix": try self.init(unixSocket: rest)
        case "rediss", "rediss+sentinel":
            throw Self.wrong(
                """
                hiredis 0.14 as shipped by Debian 12 has no TLS; use redis:// over a private \
                network or a TLS proxy such as stunnel
                """)
        default: throw Self.wrong("the URL's scheme is not redis://, redis+sentinel:// or unix://")
        }
    }

    private init(tcp rest: Substring) throws(RedisError) {
        guard !rest.contains(where: { $0 == "?" || $0 == "#" }) else {
            throw Self.wrong("the URL takes no '?' or '#'; in a password write %3F and %23")
        }
        let authority = rest.prefix { $0 != "/" }
        let path = rest.dropFirst(authority.count).dropFirst()
        guard !path.contains("@") else { throw Self.wrong("write a '/' in the user or the password as %2F") }
        let at = authority.lastIndex(of: "@")
        let place = at.map { authority[authority.index(after: $0)...] } ?? authority
        let (host, port) = try Self.hostAndPort(place)
        self.init(address: .tcp(host: host, port: port), database: try Self.database(path))
        if let at { try readCredentials(authority[..<at]) }
    }

    private init(sentinels rest: Substring) throws(RedisError) {
        let address = rest.prefix { $0 != "?" }
        guard !address.contains("#") else { throw Self.wrong("the URL takes no '#'; in a password write %23") }
        let authority = address.prefix { $0 != "/" }
        let path = address.dropFirst(authority.count).dropFirst()
        guard !path.contains("@") else { throw Self.wrong("write a '/' in the user or the password as %2F") }
        let at = authority.lastIndex(of: "@")
        let hosts = at.map { authority[authority.index(after: $0)...] } ?? authority
        var places: [RedisSentinels.Place] = []
        for host in hosts.split(separator: ",", omittingEmptySubsequences: false) {
            let (name, port) = try Self.hostAndPort(host, otherwise: 26379)
            places.append(RedisSentinels.Place(host: name, port: port))
        }
        let name = path.prefix { $0 != "/" }
        guard !name.isEmpty else {
            throw Self.wrong("the URL does not name the master: redis+sentinel://host:26379/NAME, as in sentinel.conf")
        }
        var sentinels = RedisSentinels(places: places, master: try Self.decoded(name, part: "name of the master"))
        let query = rest.dropFirst(address.count).dropFirst()
        if rest.count > address.count {
            guard query.hasPrefix("sentinel_password="), !query.contains("&") else {
                throw Self.wrong("a redis+sentinel:// URL takes only ?sentinel_password=; in a password write %3F")
            }
            let secret = try Self.decoded(query.dropFirst("sentinel_password=".count), part: "Sentinels' password")
            if !secret.isEmpty { sentinels.password = SecretText(secret) }
        }
        self.init(
            address: .master(sentinels), database: try Self.database(path.dropFirst(name.count).dropFirst()))
        if let at { try readCredentials(authority[..<at]) }
    }

    private init(unixSocket rest: Substring) throws(RedisError) {
        guard let slash = rest.firstIndex(of: "/") else { throw Self.wrong("a unix:// URL needs an absolute path") }
        let path = rest[slash...].prefix { $0 != "?" }
        let query = rest[path.endIndex...]
        var (database, peer) = (0, String?.none)
        for part in query.isEmpty ? [] : query.dropFirst().split(separator: "&", omittingEmptySubsequences: false) {
            if part.hasPrefix("db=") {
                database = try Self.database(part.dropFirst("db=".count))
            } else if part.hasPrefix("requirepeer="), part.count > "requirepeer=".count {
                peer = try Self.decoded(part.dropFirst("requirepeer=".count), part: "required peer")
            } else {
                throw Self.wrong("a unix:// URL takes only ?db= and requirepeer=")
            }
        }
        self.init(address: .unixSocket(path: try Self.decoded(path, part: "path")), database: database)
        self.peer = peer
        guard slash != rest.startIndex else { return }
        guard rest[..<slash].last == "@" else { throw Self.wrong("a unix:// URL has no host: write unix:///path") }
        try readCredentials(rest[..<slash].dropLast())
    }

    private mutating func readCredentials(_ text: Substring) throws(RedisError) {
        let name = text.prefix { $0 != ":" }
        if !name.isEmpty { user = try Self.decoded(name, part: "user") }
        if name.endIndex < text.endIndex {
            let secret = try Self.decoded(text[name.endIndex...].dropFirst(), part: "password")
            if !secret.isEmpty { password = SecretText(secret) }
        }
        guard user == nil || password != nil else { throw Self.wrong("the URL names a user without a password") }
    }

    private static func hostAndPort(_ text: Substring, otherwise port: UInt16 = 6379) throws(RedisError) -> (
        String, UInt16
    ) {
        let host: Substring
        let rest: Substring
        if text.hasPrefix("[") {
            guard let end = text.firstIndex(of: "]") else { throw wrong("the IPv6 address has no closing ']'") }
            host = text[..<end].dropFirst()
            rest = text[end...].dropFirst()
            guard host.allSatisfy({ $0.isHexDigit || $0 == ":" || $0 == "." }) else {
                throw wrong("the IPv6 address is malformed")
            }
        } else {
            host = text.prefix { $0 != ":" }
            rest = text[host.endIndex...]
        }
        guard !host.isEmpty else { throw wrong("the URL has no host") }
        let name = try decoded(host, part: "host")
        guard !rest.isEmpty else { return (name, port) }
        // UInt16 alone would accept a sign.
        guard rest.first == ":", rest.dropFirst().first != "+", let port = UInt16(rest.dropFirst()), port > 0 else {
            throw wrong("the port is not a number from 1 to 65535")
        }
        return (name, port)
    }

    private static func database(_ text: Substring) throws(RedisError) -> Int {
        guard !text.isEmpty else { return 0 }
        // Int alone would accept a sign.
        guard text.allSatisfy({ $0.isASCII && $0.isNumber }), let number = Int32(text) else {
            throw wrong("the database is not a whole number from 0")
        }
        return Int(number)
    }

    private static func decoded(_ text: Substring, part: StaticString) throws(RedisError) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8
        while let byte = rest.popFirst() {
            guard byte == UInt8(ascii: "%") else {
                bytes.append(byte)
                continue
            }
            guard let high = rest.popFirst().flatMap(hexDigit), let low = rest.popFirst().flatMap(hexDigit) else {
                throw wrong("a '%' in the ", part, " is not followed by two hex digits; write '%' as %25")
            }
            bytes.append(high << 4 | low)
        }
        // A zero byte would end the text early in C.
        guard let string = String(validating: bytes, as: UTF8.self), !bytes.contains(0) else {
            throw wrong("the ", part, " is not UTF-8 text")
        }
        return string
    }

    private static func hexDigit(_ byte: UInt8) -> UInt8? {
        Character(UnicodeScalar(byte)).hexDigitValue.map(UInt8.init)
    }

    /// The message is made of the program's own texts, so that no part of a URL can be in it.
    private static func wrong(_ message: StaticString...) -> RedisError {
        RedisError(.configuration, message.map(\.description).joined())
    }
}

extension String {
    /// The first range of `text`. Foundation has a method of this name, but is not worth linking
    /// for it.
    fileprivate func range(of text: String) -> Range<Index>? {
        var start = startIndex
        while start < endIndex {
            if self[start...].hasPrefix(text) { return start..<index(start, offsetBy: text.count) }
            start = index(after: start)
        }
        return nil
    }
}
