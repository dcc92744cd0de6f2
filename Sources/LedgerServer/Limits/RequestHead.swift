import HTTPTypes
import LedgerCore
import NIOHTTP1

/// Checks of a request's head that RFC 9112 requires before the request is interpreted.
extension HTTPRequestHead {
    /// Checks the head, and reduces its target to a path, by which routes are found.
    /// - Parameter headBytes: the maximum number of bytes of the target, and of all fields
    ///   together.
    /// - Returns: `nil` if the request is valid.
    mutating func normalize(headBytes: Int) -> Problem? {
        if uri.utf8.count > headBytes { return .targetTooLong(headBytes) }
        var (size, hosts) = (0, [String]())
        for (name, value) in headers {
            size += name.utf8.count + value.utf8.count + 4
            if name.utf8.count == 4, name.lowercased() == "host" { hosts.append(value) }
        }
        if size > headBytes { return .headTooLarge(headBytes) }
        return problem(with: hosts) ?? problemWithFraming ?? problemWithExpectation ?? shortenTarget()
    }

    /// The maximum number of fields; the parser enforces it.
    static let maxFields = 200

    /// Whether the client speaks HTTP/1.0, which has no chunked encoding and whose connections are
    /// closed after the answer.
    var isHTTP10: Bool { version.minor == 0 }

    /// Whether no other request can follow on the connection. After an Upgrade field the parser
    /// takes everything for the other protocol.
    var isLast: Bool { isHTTP10 || !isKeepAlive || method == .CONNECT || headers.contains(name: "upgrade") }

    /// The length of the body; the maximum if it is chunked.
    var bodyBytes: Int {
        if headers.contains(name: "transfer-encoding") { return .max }
        return headers.first(name: "content-length").flatMap { Int($0) } ?? 0
    }

    var waitsForContinue: Bool { headers.contains(name: "expect") }

    // MARK: Rules

    /// 3.2: exactly one field names the host.
    private func problem(with hosts: [String]) -> Problem? {
        guard hosts.count == 1 || isHTTP10 && hosts.isEmpty else {
            return .invalidRequest("a request must have one field \"Host\"; this one has \(hosts.count)")
        }
        guard hosts.allSatisfy({ $0.utf8.allSatisfy(Self.isOfHost) }) else {
            return .invalidRequest("\"Host\" must be a name or an address, with an optional port")
        }
        return nil
    }

    private static func isOfHost(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7F && !#"/\?#@,<>"{}|^`"#.utf8.contains(byte)
    }

    /// 6.1: intermediaries may have interpreted unusual framing differently.
    private var problemWithFraming: Problem? {
        let codings = headers["transfer-encoding"]
        guard !codings.isEmpty else { return nil }
        if isHTTP10 { return .invalidRequest("HTTP/1.0 has no Transfer-Encoding: send a Content-Length") }
        guard codings.count == 1, codings[0].lowercased() == "chunked" else {
            return Problem(
                .notImplemented, "unknown_transfer_coding",
                "the transfer coding \"\(codings.joined(separator: ", ").shortened(toBytes: 100))\" is not supported; "
                    + "only chunked is")
        }
        return nil
    }

    /// RFC 9110, 10.1.1.
    private var problemWithExpectation: Problem? {
        mutating get {
            let wishes = headers["expect"]
            guard !wishes.isEmpty else { return nil }
            // HTTP/1.0 has no expectations, so the field is ignored.
            if isHTTP10 {
                headers.remove(name: "expect")
                return nil
            }
            guard wishes.allSatisfy({ $0.lowercased() == "100-continue" }) else {
                return Problem(
                    .expectationFailed, "expectation_failed",
                    "the only supported expectation is 100-continue")
            }
            return nil
        }
    }

    /// 3.2: the target is a path, `*`, or an absolute address, whose host replaces the Host field.
    private mutating func shortenTarget() -> Problem? {
        guard !uri.utf8.contains(UInt8(ascii: "#")) else {
            return .invalidRequest("the target of a request must not have a fragment: write \"#\" as %23")
        }
        if uri.utf8.first == UInt8(ascii: "/") || uri == "*" && method == .OPTIONS { return nil }
        let scheme = ["http://", "https://"].first { uri.prefix($0.count).lowercased() == $0 }
        guard method != .CONNECT, let scheme else {
            return .invalidRequest(
                "the target of a request must be a path, such as /v1/events, not \"\(uri.shortened(toBytes: 100))\"")
        }
        let rest = uri.dropFirst(scheme.count)
        let authority = rest.prefix { $0 != "/" && $0 != "?" }
        guard !authority.isEmpty, authority.utf8.allSatisfy(Self.isOfHost) else {
            return .invalidRequest("the target's host must be a name or an address, with an optional port")
        }
        headers.replaceOrAdd(name: "host", value: String(authority))
        let path = rest.dropFirst(authority.count)
        uri = path.first == "/" ? String(path) : "/" + path
        return nil
    }
}

extension Problem {
    fileprivate static func targetTooLong(_ limit: Int) -> Problem {
        Problem(
            .uriTooLong, "uri_too_long",
            "the target of a request may have at most \(limit) bytes; request less at a time")
    }

    fileprivate static func headTooLarge(_ limit: Int) -> Problem {
        Problem(
            .requestHeaderFieldsTooLarge, "headers_too_large",
            "the head of a request may have at most \(HTTPRequestHead.maxFields) fields, of \(limit) bytes together")
    }

    /// - Parameter isInFirstLine: whether the parser failed before the end of the head's first
    ///   line.
    static func unparsable(_ error: HTTPParserError, isInFirstLine: Bool, _ headBytes: Int) -> Problem {
        switch error {
        case .headerOverflow: isInFirstLine ? targetTooLong(headBytes) : headTooLarge(headBytes)
        case .invalidVersion:
            Problem(.httpVersionNotSupported, "unknown_http_version", "the service speaks HTTP/1.1 and HTTP/1.0")
        case .invalidEOFState: invalidRequest("the request ended before it was complete")
        case .invalidURL:
            invalidRequest(
                "the target of a request must be ASCII: \(percentEncodingRule), such as %C3%A9 for é")
        default: invalidRequest("this is not a valid HTTP request: \(error)")
        }
    }
}
