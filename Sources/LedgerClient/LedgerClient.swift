public import AsyncHTTPClient
import Foundation
import LedgerCore
import NIOCore
import NIOHTTP1

/// A ledger over HTTP: append, query, subscribe.
///
///     let ledger = try LedgerClient(url: "http://127.0.0.1:8080", token: token)
///     let queued = NewEvent(type: "queued", data: #"{"name": "SMA crossover", "total": 4000}"#)
///     try await ledger.append(queued, to: "backtest-7")
///     for try await event in ledger.subscribe(job: "backtest-7") { … }
///
/// A call is repeated with growing pauses while the service is unreachable, busy or restarting,
/// until `retryTimeout` ends. That is safe for appends too: an event keeps its id, and if an
/// attempt wrote it but its answer was lost, the next answer has the event's place in the log.
public struct LedgerClient: Sendable {
    let url: String
    let token: SecretText?
    let http: HTTPClient
    /// How long a call is repeated while the service cannot answer.
    public var retryTimeout: Duration
    /// How long one attempt may take.
    public var timeLimit: Duration
    /// What was acknowledged, to append it again after a loss; `nil` unless the caller wants it.
    var memory: AcknowledgedEvents?

    /// - Parameters:
    ///   - url: the service's address, without `/v1`: `https://ledger.example`.
    ///   - token: made by `jobledger token create`; `nil` for a service that requires none.
    ///   - http: the client whose connections are used; this type does not shut it down.
    ///   - retryTimeout: how long a call is repeated while the service cannot answer.
    ///   - timeLimit: how long one attempt may take.
    /// - Throws: ``LedgerClientError`` of the kind `configuration`, if the address or the token is
    ///   malformed.
    public init(
        url: String, token: String?, http: HTTPClient = .shared, retryTimeout: Duration = .seconds(30),
        timeLimit: Duration = .seconds(30)
    ) throws(LedgerClientError) {
        guard let parts = URLComponents(string: url), parts.scheme == "http" || parts.scheme == "https",
            parts.host?.isEmpty == false,
            parts.query == nil, parts.fragment == nil, parts.user == nil, parts.password == nil
        else {
            // The message leaves the address out, because it may contain a password.
            throw LedgerClientError(
                .configuration,
                "the service's address must be like https://ledger.example, without user, password, query or fragment")
        }
        guard token?.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F }) ?? true else {
            // The HTTP client's error would show the token.
            throw LedgerClientError(
                .configuration,
                "the token contains a character that no token has, such as the line break after it in a file")
        }
        self.url = String(url.reversed().drop { $0 == "/" }.reversed())
        self.token = token.map { SecretText($0) }
        self.http = http
        self.retryTimeout = retryTimeout
        self.timeLimit = timeLimit
    }

    struct Answer: Sendable {
        var status: Int
        var headers: HTTPHeaders
        var body: [UInt8]
    }

    /// The maximum number of bytes of an answer.
    private static let longestAnswer = 256 << 20

    func request(_ method: HTTPMethod, _ path: String, accept: String = "application/json") -> HTTPClientRequest {
        var request = HTTPClientRequest(url: url + path)
        request.method = method
        request.headers.add(name: "accept", value: accept)
        if let token { request.headers.add(name: "authorization", value: "Bearer \(token.revealed)") }
        return request
    }

    /// Sends `request`, and repeats it while that may help.
    /// - Returns: an answer with status 2xx.
    /// - Throws: ``Refusal`` if the ledger refuses, ``LedgerClientError`` for every other failure,
    ///   `CancellationError`.
    func send(_ request: HTTPClientRequest) async throws -> Answer {
        let deadline = ContinuousClock.now.advanced(by: retryTimeout)
        var pause = Pause()
        while true {
            let failure = try await attempt(request)
            switch failure {
            case .success(let answer): return answer
            case .failure(let error):
                guard error.isRetriable else { throw error }
                let wait = pause.next(atLeast: error.retryAfter)
                guard ContinuousClock.now.advanced(by: wait) < deadline else { throw error }
                try await Task.sleep(for: wait)
            }
        }
    }

    private func attempt(_ request: HTTPClientRequest) async throws -> Result<Answer, LedgerClientError> {
        do {
            let answer = try await once(request)
            if (200..<300).contains(answer.status) { return .success(answer) }
            return .failure(try Problem.error(answer.status, answer.headers, answer.body))
        } catch let refusal as Refusal {
            throw refusal
        } catch {
            try Task.checkCancellation()
            // Connections that cannot be made, break, or take too long: an HTTP client that only
            // sends and receives throws nothing else.
            return .failure(.unreachable(url, error))
        }
    }

    private func once(_ request: HTTPClientRequest) async throws -> Answer {
        let response = try await http.execute(request, timeout: TimeAmount(timeLimit))
        let body = try await response.body.collect(upTo: Self.longestAnswer)
        return Answer(status: Int(response.status.code), headers: response.headers, body: Array(body.readableBytesView))
    }
}

/// The pauses between attempts: each twice the one before, with a random part, so that many clients
/// do not retry at the same time.
struct Pause {
    private var step = Duration.milliseconds(50)

    mutating func next(atLeast least: Duration? = nil) -> Duration {
        defer { step = min(step * 2, .seconds(5)) }
        return max(step / 2 + step / 2 * Double.random(in: 0...1), least ?? .zero)
    }
}
