import CLibpq
import Glibc
import Texts

/// A connection string that libpq reads as its writer meant it, as far as can be checked before
/// connecting.
///
/// libpq quotes in its messages the text that it does not understand. If a character of a password
/// is not percent-encoded, libpq takes a part of the password for a host or a port. So the quoted
/// text is not shown here, and a part that cannot be a host or a port is refused without being
/// shown.
struct ConnectionString: Sendable {
    let text: SecretText
    /// The options that lead to one host, for each host of a list; empty if there is no list.
    let hosts: [[(name: String, value: String)]]
    var namesSeveralHosts: Bool { hosts.count > 1 }
    /// Whether, of several hosts, only one that accepts writes will do.
    let leadsToPrimary: Bool
    /// Values of the options that libpq marks as secret, except values that other options have as
    /// well.
    private let secrets: [String]

    private static let advice = """
        It is like postgresql://user:password@host:5432/database, or host=… dbname=… password='…'. \
        In the first form write each of : / @ ? # % [ ] in a user or password in percent-encoding, \
        an @ as %40.
        """

    /// - Throws: a permanent ``PostgresError`` of kind `cannotConnect`. It shows nothing of the
    ///   text.
    init(_ text: SecretText) throws(PostgresError) {
        self.text = text
        let options = try Self.options(text.revealed)
        for port in options.filter({ $0.name == "port" }).flatMap({ Self.parts($0.value) }) where !port.isEmpty {
            // UInt16 alone would accept a sign.
            guard port.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }),
                let number = UInt16(port),
                number > 0
            else { throw Self.wrong("its port is not a number from 1 to 65535") }
        }
        if let scheme = text.revealed.utf8.firstRange(of: "://".utf8) {
            // A host in the query may begin with an @, which means an abstract socket.
            let rest = text.revealed.utf8[scheme.upperBound...].prefix { $0 != UInt8(ascii: "?") }
            let authority = rest.prefix { $0 != UInt8(ascii: "/") }
            guard authority.count(where: { $0 == UInt8(ascii: "@") }) < 2,
                !rest[authority.endIndex...].contains(UInt8(ascii: "@"))
            else {
                throw Self.wrong("it has an @ where none can be")
            }
        }
        hosts = Self.hosts(options)
        let wanted = options.first { $0.name == "target_session_attrs" }?.value ?? Self.defaultTarget ?? "read-write"
        leadsToPrimary = hosts.count > 1 && ["read-write", "primary"].contains(wanted)
        let plain = options.filter { !$0.isSecret }.map(\.value)
        secrets = options.filter { $0.isSecret && !$0.value.isEmpty && !plain.contains($0.value) }.map(\.value)
    }

    /// A message of libpq or of a server about this connection, with the secrets removed.
    func cleaned(_ message: String) -> String {
        // libpq starts a message like this for an invalid value of an option, before it connects.
        let shown = message.hasPrefix("invalid ") ? Self.withoutQuoted(message) : message
        return secrets.reduce(shown) { $0.replacing($1, with: "***") }
    }

    /// What replaces the ledger's own default, which is `read-write` where there are several hosts.
    static var defaultTarget: String? { getenv("PGTARGETSESSIONATTRS").map { String(cString: $0) } }

    private static var defaultPort: String { getenv("PGPORT").map { String(cString: $0) } ?? "5432" }

    private static func hosts(_ options: [Option]) -> [[(name: String, value: String)]] {
        let lists = options.filter { ["host", "hostaddr", "port"].contains($0.name) }.map {
            (name: $0.name, values: parts($0.value))
        }
        let count = lists.filter { $0.name != "port" }.map(\.values.count).max() ?? 0
        guard count > 1 else { return [] }
        return (0..<count).map { index in
            // One port is for all hosts. libpq refuses lists of other lengths.
            lists.compactMap { list in
                guard let value = list.values.count == 1 ? list.values[0] : list.values.dropFirst(index).first else {
                    return nil
                }
                // libpq takes an empty value for none at all.
                return (list.name, value.isEmpty && list.name == "port" ? defaultPort : String(value))
            }
        }
    }

    private static func parts(_ list: String) -> [Substring] {
        list.split(separator: ",", omittingEmptySubsequences: false)
    }

    private static func wrong(_ what: String) -> PostgresError {
        .mistake("the connection string cannot be used: \(what). \(advice)")
    }

    private struct Option {
        var name: String
        var value: String
        var isSecret: Bool
    }

    /// The options that are set.
    private static func options(_ text: String) throws(PostgresError) -> [Option] {
        if let first = text.unicodeScalars.first, first == "\"" || first == "'" || first == "\u{201C}" {
            throw wrong("it is in quotes; remove them")
        }
        var message: UnsafeMutablePointer<CChar>?
        guard let parsed = PQconninfoParse(text, &message) else {
            // libpq allocated the message for us; it is copied out and freed here.
            defer { PQfreemem(message) }
            throw wrong(message.map { withoutQuoted(String(cString: $0)) } ?? "out of memory")
        }
        // The array ends with an option without a name. Its strings are copied before it is freed.
        defer { PQconninfoFree(parsed) }
        var options: [Option] = []
        var next = parsed
        while let name = next.pointee.keyword {
            if let value = next.pointee.val {
                let isSecret = next.pointee.dispchar.map { String(cString: $0) == "*" } ?? false
                options.append(Option(name: String(cString: name), value: String(cString: value), isSecret: isSecret))
            }
            next += 1
        }
        return options
    }

    /// libpq puts the text that it repeats in quotes. That text may contain quotes itself, so
    /// everything from the first to the last quote is left out.
    private static func withoutQuoted(_ message: String) -> String {
        let message = message.trimmed
        guard let first = message.firstIndex(of: "\""), let last = message.lastIndex(of: "\""), first < last else {
            return message
        }
        return message[..<first] + "\"…\"" + message[message.index(after: last)...]
    }
}
