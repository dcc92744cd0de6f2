import LedgerCore

/// The settings of the HTTP service.
///
/// | variable | type | default | meaning |
/// |---|---|---|---|
/// | `JOBLEDGER_HTTP_HOST` | name or address | `127.0.0.1` | where it listens |
/// | `JOBLEDGER_HTTP_PORT` | 0–65535 | 8080; `up`: a free one | 0 takes a free one |
/// | `JOBLEDGER_HTTP_TLS_CERTIFICATE`, `JOBLEDGER_HTTP_TLS_KEY` | paths of PEM files | – | serves HTTPS; both or none |
/// | `JOBLEDGER_HTTP_CORS_ORIGINS` | `*`, or origins separated by commas | – | the other origins whose pages may use the service |
/// | `JOBLEDGER_HTTP_BODY_BYTES` | 1,024–67,108,864 | 16777216 | the largest body of a request |
/// | `JOBLEDGER_HTTP_BUFFER_BYTES` | 1,048,576–17,179,869,184 | 268435456 | the bodies of all requests in progress and their answers, together; a token may use as much as is still free |
/// | `JOBLEDGER_HTTP_HEADER_BYTES` | 1,024–1,048,576 | 32768 | the largest head of a request, and the largest field in it |
/// | `JOBLEDGER_HTTP_CONNECTIONS` | 1–1,000,000 | 12000 | connections at once |
/// | `JOBLEDGER_HTTP_REQUEST_SECONDS` | 1–3600 | 30 | how long a request may take to arrive |
/// | `JOBLEDGER_HTTP_IDLE_SECONDS` | 1–3600 | 60 | how long a connection may be idle, or a client may take less than 16 KiB of waiting data |
/// | `JOBLEDGER_HTTP_STREAMS_PER_TOKEN` | 1–1,000,000 | 2000 | event streams that a token may have open |
/// | `JOBLEDGER_HTTP_READ_SECONDS` | 1–300 | 10 | how long a read may take |
/// | `JOBLEDGER_HTTP_WAIT_SECONDS` | 1–300 | 5 | how long a read waits for `min_position` |
/// | `JOBLEDGER_HTTP_HEARTBEAT_SECONDS` | 1–300 | 15 | how often a quiet stream sends a heartbeat |
/// | `JOBLEDGER_HTTP_GRACE_SECONDS` | 0–300 | 10 | how long requests in progress may take when the service is told to stop |
/// | `JOBLEDGER_HTTP_READERS` | 1–100 | 8 | connections to Postgres for reading |
package struct HTTPSettings: Sendable {
    package var host: String
    /// `nil` if it is not set.
    package var port: Int?
    package var tls: (certificate: NamedFile, key: NamedFile)?
    package var corsOrigins: [String]
    package var bodyBytes: Int
    package var bufferBytes: Int
    package var headerBytes: Int
    package var connections: Int
    package var request: Duration
    package var idle: Duration
    package var streamsPerToken: Int
    package var read: Duration
    package var wait: Duration
    package var heartbeat: Duration
    package var grace: Duration
    package var readers: Int

    package static let standardPort = 8080

    /// The defaults.
    package init() { self = try! HTTPSettings { _ in nil } }

    /// - Parameter value: gives the value of a variable; `nil` if it is not set.
    /// - Throws: ``LedgerSettings/Problem`` that names the malformed variable.
    package init(_ value: (_ name: String) throws -> String?) throws {
        func number(_ name: String, _ range: ClosedRange<Int>, default standard: Int?) throws -> Int? {
            guard let text = try value(name) else { return standard }
            guard let number = Int(decimal: text), range.contains(number) else {
                throw LedgerSettings.Problem(name, "must be an integer from \(range.lowerBound) to \(range.upperBound)")
            }
            return number
        }
        func integer(_ name: String, _ range: ClosedRange<Int>, default standard: Int) throws -> Int {
            try number(name, range, default: standard) ?? standard
        }
        func seconds(_ name: String, _ range: ClosedRange<Int>, default standard: Int) throws -> Duration {
            .seconds(try integer(name, range, default: standard))
        }
        host = try value("JOBLEDGER_HTTP_HOST") ?? "127.0.0.1"
        port = try number("JOBLEDGER_HTTP_PORT", 0...65535, default: nil)
        func file(_ name: String) throws -> NamedFile? {
            try value(name).map { try NamedFile(path: $0, setting: name) }
        }
        switch (try file("JOBLEDGER_HTTP_TLS_CERTIFICATE"), try file("JOBLEDGER_HTTP_TLS_KEY")) {
        case (let certificate?, let key?): tls = (certificate, key)
        case (nil, nil): tls = nil
        case (_?, nil), (nil, _?):
            throw LedgerSettings.Problem(
                description:
                    "JOBLEDGER_HTTP_TLS_CERTIFICATE and JOBLEDGER_HTTP_TLS_KEY go together, but one of them is not set")
        }
        corsOrigins = try Self.origins(try value("JOBLEDGER_HTTP_CORS_ORIGINS"))
        bodyBytes = try integer("JOBLEDGER_HTTP_BODY_BYTES", 1024...(64 << 20), default: 16 << 20)
        bufferBytes = try integer("JOBLEDGER_HTTP_BUFFER_BYTES", (1 << 20)...(16 << 30), default: 256 << 20)
        headerBytes = try integer("JOBLEDGER_HTTP_HEADER_BYTES", 1024...(1 << 20), default: 32 << 10)
        connections = try integer("JOBLEDGER_HTTP_CONNECTIONS", 1...1_000_000, default: 12_000)
        request = try seconds("JOBLEDGER_HTTP_REQUEST_SECONDS", 1...3600, default: 30)
        idle = try seconds("JOBLEDGER_HTTP_IDLE_SECONDS", 1...3600, default: 60)
        streamsPerToken = try integer("JOBLEDGER_HTTP_STREAMS_PER_TOKEN", 1...1_000_000, default: 2000)
        read = try seconds("JOBLEDGER_HTTP_READ_SECONDS", 1...300, default: 10)
        wait = try seconds("JOBLEDGER_HTTP_WAIT_SECONDS", 1...300, default: 5)
        heartbeat = try seconds("JOBLEDGER_HTTP_HEARTBEAT_SECONDS", 1...300, default: 15)
        grace = try seconds("JOBLEDGER_HTTP_GRACE_SECONDS", 0...300, default: 10)
        readers = try integer("JOBLEDGER_HTTP_READERS", 1...100, default: 8)
    }

    private static func origins(_ text: String?) throws -> [String] {
        let origins = text?.split(separator: ",").map { $0.drop { $0 == " " } }.map(String.init) ?? []
        for origin in origins where origin != "*" {
            let rest =
                origin.hasPrefix("https://")
                ? origin.dropFirst(8) : origin.hasPrefix("http://") ? origin.dropFirst(7) : ""
            guard !rest.isEmpty, !rest.contains("/"), !rest.contains(" ") else {
                throw LedgerSettings.Problem(
                    "JOBLEDGER_HTTP_CORS_ORIGINS",
                    "must be *, or origins such as https://example.com, without a path and separated by commas")
            }
        }
        return origins
    }
}
