import HTTPTypes
import LedgerCore
import NIOHTTP1

/// What RFC 9112 has a server make sure of before anybody looks at what is asked for.
extension HTTPRequestHead {
    /// Brings the target into the form that routes are found by: a path. `nil` where the request
    /// may be taken.
    /// - Parameter headBytes: the most bytes of the target, and of all fields.
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

    /// The most fields; the parser counts them.
    static let maxFields = 200

    /// Whether the client speaks HTTP/1.0: it knows no chunks, and its connections are not kept.
    var isHTTP10: Bool { version.minor == 0 }

    /// Whether no other request can follow on the connection. The parser takes what stands behind a
    /// wish to speak another protocol for that.
    var isLast: Bool { isHTTP10 || !isKeepAlive || method == .CONNECT || headers.contains(name: "upgrade") }

    /// Without a length a body may have any.
    var bodyBytes: Int {
        if headers.contains(name: "transfer-encoding") { return .max }
        return headers.first(name: "content-length").flatMap { Int($0) } ?? 0
    }

    var waitsForContinue: Bool { headers.contains(name: "expect") }

    // MARK: The rules

    /// 3.2: one field says which host is meant.
    private func problem(with hosts: [String]) -> Problem? {
        guard hosts.count == 1 || isHTTP10 && hosts.isEmpty else {
            return .invalidRequest("a request has one field \"Host\", and this one has \(hosts.count)")
        }
        guard hosts.allSatisfy({ $0.utf8.allSatisfy(Self.isOfHost) }) else {
            return .invalidRequest("\"Host\" must be a name or an address, and perhaps a port")
        }
        return nil
    }

    private static func isOfHost(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7F && !#"/\?#@,<>"{}|^`"#.utf8.contains(byte)
    }

    /// 6.1: what is not framed as everybody frames it, others on the way may have taken for
    /// something else.
    private var problemWithFraming: Problem? {
        let codings = headers["transfer-encoding"]
        guard !codings.isEmpty else { return nil }
        if isHTTP10 { return .invalidRequest("HTTP/1.0 has no Transfer-Encoding: send a Content-Length") }
        guard codings.count == 1, codings[0].lowercased() == "chunked" else {
            return Problem(
                .notImplemented, "unknown_transfer_coding",
                "the transfer coding \"\(codings.joined(separator: ", ").shortened(toBytes: 100))\" is not known here; there is chunked"
            )
        }
        return nil
    }

    /// RFC 9110, 10.1.1.
    private var problemWithExpectation: Problem? {
        mutating get {
            let wishes = headers["expect"]
            guard !wishes.isEmpty else { return nil }
            // HTTP/1.0 has no such thing, and no answer to it.
            if isHTTP10 {
                headers.remove(name: "expect")
                return nil
            }
            guard wishes.allSatisfy({ $0.lowercased() == "100-continue" }) else {
                return Problem(
                    .expectationFailed, "expectation_failed",
                    "the service knows the expectation 100-continue, and no other")
            }
            return nil
        }
    }

    /// 3.2: a path, `*`, or what is sent to proxies, whose host beats the field's.
    private mutating func shortenTarget() -> Problem? {
        guard !uri.utf8.contains(UInt8(ascii: "#")) else {
            return .invalidRequest("a request's target has no fragment: \"#\" is %23")
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
            return .invalidRequest("the target's host must be a name or an address, and perhaps a port")
        }
        headers.replaceOrAdd(name: "host", value: String(authority))
        let path = rest.dropFirst(authority.count)
        uri = path.first == "/" ? String(path) : "/" + path
        return nil
    }
}

extension Problem {
    fileprivate static func targetTooLong(_ limit: Int) -> Problem {
        Problem(.uriTooLong, "uri_too_long", "the target of a request may have \(limit) bytes; ask for less at a time")
    }

    fileprivate static func headTooLarge(_ limit: Int) -> Problem {
        Problem(
            .requestHeaderFieldsTooLarge, "headers_too_large",
            "a request's head may have \(HTTPRequestHead.maxFields) fields, of \(limit) bytes together")
    }

    /// - Parameter isInFirstLine: whether the parser gave up before the end of the head's first
    ///   line.
    static func unparsable(_ error: HTTPParserError, isInFirstLine: Bool, _ headBytes: Int) -> Problem {
        switch error {
        case .headerOverflow: isInFirstLine ? targetTooLong(headBytes) : headTooLarge(headBytes)
        case .invalidVersion:
            Problem(.httpVersionNotSupported, "unknown_http_version", "the service speaks HTTP/1.1, and HTTP/1.0")
        case .invalidEOFState: invalidRequest("the request ended before its end")
        case .invalidURL:
            invalidRequest(
                "the target of a request is ASCII: each byte of UTF-8 that is no letter, digit or one of -._~ is written as % and two hexadecimal digits, such as %C3%A9 for é"
            )
        default: invalidRequest("this is no HTTP request that can be understood: \(error)")
        }
    }
}
