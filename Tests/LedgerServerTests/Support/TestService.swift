import AsyncHTTPClient
import EventStore
import Foundation
import LedgerCore
import LedgerServer
import LedgerSettings
import LedgerTesting
import Logging
import NIOCore
import NIOHTTP1
import Projections
import Redis
import ServiceLifecycle
import Testing

/// A service in this process, with a ledger and a port of its own.
struct TestService: Sendable {
    let ledger: TestLedger
    let url: String
    /// A token with all scopes.
    let token: String
    let tokens: TokenStore
    private let group: ServiceGroup

    /// - Parameters:
    ///   - projecting: whether projectors keep the read models up to date.
    ///   - projections: definitions beside the built-in ones.
    ///   - redis: what the service listens to; `nil` to poll.
    ///   - url: the address by which the service finds the ledger; by default the ledger's own.
    ///   - server: the Postgres for the ledger; by default the shared one.
    static func with<T: Sendable>(
        needsToken: Bool = true, projecting: Bool = false, projections: [ProjectionDefinition] = [],
        redis: RedisConfiguration? = nil, url: String? = nil, server: String? = nil,
        settings: HTTPSettings = HTTPSettings(), _ body: @Sendable (TestService) async throws -> T
    ) async throws -> T {
        try await places.with {
            try await run(
                needsToken: needsToken, projecting: projecting, projections: projections, redis: redis, url: url,
                server: server, settings: settings, body)
        }
    }

    /// Each service takes some twenty connections to Postgres, and there are 400 in all.
    private static let places = Places(12)

    private static func run<T: Sendable>(
        needsToken: Bool, projecting: Bool, projections: [ProjectionDefinition], redis: RedisConfiguration?,
        url: String?, server: String?, settings: HTTPSettings, _ body: @Sendable (TestService) async throws -> T
    ) async throws -> T {
        let settings = settings.changed { $0.readers = min($0.readers, 4) }
        return try await TestLedger.with(url: server) { ledger in
            let tokens = TokenStore(ledger.store)
            let token = try await tokens.create(Set(Scope.allCases), name: "test").text
            let (addresses, listening) = AsyncStream<String>.makeStream()
            var logger = Logger(label: "test")
            logger.logLevel = .error
            let definitions = try ProjectionDefinition.all() + projections
            let service = try LedgerService(
                LedgerService.Configuration(
                    url: url ?? ledger.url, ledger: ledger.name, redis: redis, http: settings, port: 0,
                    needsToken: needsToken, projections: definitions),
                logger: logger
            ) { listening.yield($0) }
            let group = ServiceGroup(
                services: [service] + (projecting ? projectors(of: definitions, ledger, logger) : []), logger: logger)
            return try await withThrowingTaskGroup(of: Void.self) { tasks in
                tasks.addTask {
                    defer { listening.finish() }
                    try await group.run()
                }
                guard let address = await addresses.first(where: { _ in true }) else {
                    try await tasks.waitForAll()
                    throw CancellationError()
                }
                let result = try await body(
                    TestService(ledger: ledger, url: address, token: token, tokens: tokens, group: group))
                await group.triggerGracefulShutdown()
                try await tasks.waitForAll()
                return result
            }
        }
    }

    private static func projectors(
        of definitions: [ProjectionDefinition], _ ledger: TestLedger, _ logger: Logger
    ) -> [any Service] {
        definitions.map { definition in
            let projector = Projector(definition, store: ledger.store, url: ledger.url, window: 1000, logger: logger)
            return Projecting(projector: projector)
        }
    }

    private struct Projecting: Service {
        let projector: Projector
        func run() async throws { await cancelWhenGracefulShutdown { await projector.run() } }
    }

    func stop() async { await group.triggerGracefulShutdown() }

    // MARK: Requests

    struct Answer: Sendable, CustomStringConvertible {
        let status: Int
        let headers: [String: String]
        let body: [UInt8]
        var text: String { String(decoding: body, as: UTF8.self) }
        var description: String { "\(status) \(headers) \(text)" }

        /// The body as JSON; null if it is not JSON.
        var json: JSON {
            JSON((try? JSONSerialization.jsonObject(with: Data(body), options: .fragmentsAllowed)) ?? NSNull())
        }
        var code: String? { json["code"].text }
    }

    /// - Parameter token: an empty text for none; by default the service's token with all scopes.
    func ask(
        _ method: String = "GET", _ path: String, _ body: String? = nil, type: String = "application/json",
        token: String? = nil,
        headers: [String: String] = [:]
    ) async throws -> Answer {
        var request = HTTPClientRequest(url: url + path)
        request.method = .RAW(value: method)
        let token = token ?? self.token
        if !token.isEmpty { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        if let body {
            request.body = .bytes(ByteBuffer(string: body))
            if !type.isEmpty { request.headers.add(name: "content-type", value: type) }
        }
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(300))
        let bytes = try await response.body.collect(upTo: 64 << 20)
        return Answer(
            status: Int(response.status.code),
            headers: Dictionary(response.headers.map { ($0.name.lowercased(), $0.value) }) { $0 + ", " + $1 },
            body: Array(bytes.readableBytesView))
    }

    func append(_ body: String, to job: String, headers: [String: String] = [:]) async throws -> Answer {
        try await ask("POST", "/v1/jobs/\(job)/events", body, headers: headers)
    }

    /// Opens an event stream.
    func stream(
        _ path: String, token: String? = nil, headers: [String: String] = [:]
    ) async throws -> EventReading {
        var request = HTTPClientRequest(url: url + path)
        request.headers.add(name: "accept", value: "text/event-stream")
        let token = token ?? self.token
        if !token.isEmpty { request.headers.add(name: "authorization", value: "Bearer \(token)") }
        for (name, value) in headers { request.headers.replaceOrAdd(name: name, value: value) }
        let response = try await HTTPClient.shared.execute(request, timeout: .seconds(300))
        return EventReading(
            status: Int(response.status.code), type: response.headers.first(name: "content-type"), body: response.body)
    }
}

extension HTTPSettings {
    /// The defaults, changed.
    static func changed(_ change: (inout HTTPSettings) -> Void) -> HTTPSettings { HTTPSettings().changed(change) }

    func changed(_ change: (inout HTTPSettings) -> Void) -> HTTPSettings {
        var settings = self
        change(&settings)
        return settings
    }
}
