import HTTPTypes
import Hummingbird
import LedgerCore

/// The cookie in which a browser keeps a session.
///
/// Browsers keep cookies by host, whatever the port. So the name has the ledger and the port, and
/// two services on one host do not sign each other out. A page cannot read the cookie, and no
/// request that another site causes has it.
struct SessionCookie: Sendable {
    /// What a request has under the cookie's name.
    enum Sent: Sendable {
        case nothing
        case secret(SessionSecret)
        /// Something that no service has set, or two different values: of these, one may be from
        /// somebody else.
        case other
    }

    private let ledger: String
    /// Whether the service speaks TLS itself.
    private let isTLS: Bool

    /// A browser takes a name with this prefix only over TLS and for this host alone, so a page of
    /// a neighbouring host cannot set such a cookie.
    private static let prefix = "__Host-"

    /// - Parameter id: tells ledgers of one name apart; the first digits of the ledger's first
    ///   epoch.
    init(_ ledger: LedgerName, id: String, isTLS: Bool) {
        self.ledger = "jobledger_\(ledger)_\(id)"
        self.isTLS = isTLS
    }

    /// The name for a request, without the prefix.
    func name(for request: Request) -> String {
        let authority = request.head.authority ?? ""
        let colon = authority.utf8.lastIndex(of: UInt8(ascii: ":"))
        let port = colon.map { authority[authority.index(after: $0)...] } ?? ""
        // The end of an address of version 6 without a port is no port.
        let isPort = !port.isEmpty && port.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }
        return isPort ? "\(ledger)_\(port)" : ledger
    }

    /// What a request has.
    func sent(by request: Request) -> Sent {
        let name = name(for: request)
        let prefixed = Self.values(of: Self.prefix + name, in: request)
        // Over TLS the service has set no other.
        let values = prefixed.isEmpty && !isTLS ? Self.values(of: name, in: request) : prefixed
        guard let first = values.first else { return .nothing }
        guard values.count == 1, let secret = SessionSecret(first.text) else { return .other }
        return .secret(secret)
    }

    /// The different values of a cookie.
    private static func values(of name: String, in request: Request) -> Set<ExactText> {
        var values: Set<ExactText> = []
        for field in request.headers where field.name == .cookie {
            // Split bytes, not characters: see ``Query``.
            for pair in field.value.utf8.split(separator: UInt8(ascii: ";")) {
                let parts = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
                guard parts.count == 2, Substring(parts[0]).trimmingSpaces() == name else { continue }
                values.insert(ExactText(Substring(parts[1]).trimmingSpaces()))
            }
        }
        return values
    }

    /// Gives the browser a session.
    func set(_ secret: SessionSecret, until end: Timestamp, for request: Request, on headers: inout HTTPFields) {
        let seconds = max(0, (end.microseconds - Timestamp.now.microseconds) / 1_000_000)
        let isSecure = isTLS || Self.isSentOverTLS(request)
        let name = name(for: request)
        // One that is left of another way to the service would come first.
        if !isSecure, !Self.values(of: Self.prefix + name, in: request).isEmpty {
            headers.append(Self.field(Self.prefix + name, "", seconds: 0, isSecure: true))
        }
        headers.append(
            Self.field((isSecure ? Self.prefix : "") + name, secret.text, seconds: seconds, isSecure: isSecure))
    }

    /// Takes the session from the browser.
    func clear(for request: Request, on headers: inout HTTPFields) {
        let name = name(for: request)
        for (name, isSecure) in [(Self.prefix + name, true), (name, isTLS)] {
            guard !Self.values(of: name, in: request).isEmpty else { continue }
            headers.append(Self.field(name, "", seconds: 0, isSecure: isSecure))
        }
    }

    private static func field(_ name: String, _ value: String, seconds: Int64, isSecure: Bool) -> HTTPField {
        HTTPField(
            name: .setCookie,
            value: "\(name)=\(value); Path=/; Max-Age=\(seconds); HttpOnly; SameSite=Strict"
                + (isSecure ? "; Secure" : ""))
    }

    /// Whether the browser says that its page came over TLS, which a proxy may have ended.
    private static func isSentOverTLS(_ request: Request) -> Bool {
        request.headers.first(.origin)?.hasPrefix("https://") == true
    }
}
