import EventStore
import Feed
import Hummingbird
import HummingbirdCore
import HummingbirdTLS
package import LedgerCore
package import LedgerSettings
package import Logging
import NIOCore
import NIOSSL
import Postgres
package import Projections
package import Redis
import ServiceLifecycle

/// The HTTP service of one ledger.
package struct LedgerService: Service, CustomStringConvertible {
    package struct Configuration: Sendable {
        package var url: SecretText
        package var ledger: LedgerName
        /// Where events are published; `nil` to poll Postgres.
        package var redis: RedisConfiguration?
        package var http: HTTPSettings
        package var port: Int
        /// Whether requests need a token. Without tokens the service listens on a loopback address
        /// only.
        package var needsToken: Bool
        /// The projections whose read models are shown; `nil` for the built-in ones.
        package var projections: [ProjectionDefinition]?

        package init(
            url: String, ledger: LedgerName, redis: RedisConfiguration?, http: HTTPSettings, port: Int,
            needsToken: Bool = true, projections: [ProjectionDefinition]? = nil
        ) {
            self.url = SecretText(url)
            self.ledger = ledger
            self.redis = redis
            self.http = http
            self.port = port
            self.needsToken = needsToken
            self.projections = projections
        }
    }

    /// A mistake in the configuration.
    package struct Mistake: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    /// Leaves out the database's address, which has a password: ServiceLifecycle logs the
    /// description of every service.
    package var description: String { "LedgerService(\(configuration.ledger))" }

    private let configuration: Configuration
    private let logger: Logger
    private let started: @Sendable (_ url: String) async throws -> Void
    private let tls: TLSConfiguration?

    /// - Parameter started: called with the service's address once it accepts requests.
    /// - Throws: ``Mistake``
    package init(
        _ configuration: Configuration, logger: Logger,
        started: @escaping @Sendable (_ url: String) async throws -> Void
    ) throws {
        guard configuration.needsToken || AllowedHosts.isLoopback(configuration.http.host) else {
            throw Mistake(
                description:
                    "without authentication the service listens on a loopback address only, not on "
                    + "\(configuration.http.host): leave out --no-auth, and make tokens (jobledger token create)")
        }
        self.configuration = configuration
        self.logger = logger
        self.started = started
        tls = try configuration.http.tls.map(Self.tls)
    }

    /// Waits for the ledger, and runs until a graceful shutdown. Then it accepts no more requests,
    /// finishes those under way, and ends streams with a hint to reconnect. What takes longer than
    /// the grace period is cut off.
    package func run() async throws {
        guard let parts = try await partsUnlessStopped() else { return }
        do {
            try await run(parts)
        } catch {
            await parts.close()
            throw error
        }
        await parts.close()
    }

    /// The parts, once the ledger answers; `nil` if the service was told to stop before.
    private func partsUnlessStopped() async throws -> ServiceParts? {
        do {
            return try await cancelWhenGracefulShutdown { [configuration, logger] in
                try await ServiceParts(configuration, logger: logger)
            }
        } catch is CancellationError {
            return nil
        } catch let error as PostgresError where error.kind == .cancelled {
            return nil
        }
    }

    private func run(_ parts: ServiceParts) async throws {
        let application = try buildApplication(parts)
        // Not cancelled at shutdown: commits continue until the last request is answered.
        async let commits: Void = parts.commits.run()
        let feed = Task { await parts.feed.run() }
        async let ticks: Void = parts.tick()
        let refusals = Task { await parts.refusals.run() }
        let result: Result<Void, any Error>
        do {
            try await withGracefulShutdownHandler {
                try await cutOff(after: configuration.http.grace, of: parts.stopping) { try await application.run() }
            } onGracefulShutdown: {
                parts.stop()
            }
            result = .success(())
        } catch {
            result = .failure(error)
        }
        parts.stop()
        parts.commits.stop()
        await commits
        feed.cancel()
        await feed.value
        await ticks
        refusals.cancel()
        await refusals.value
        try result.get()
    }

    /// Runs `body`, and cancels it if it still runs `grace` after the signal.
    private func cutOff(
        after grace: Duration, of signal: StopSignal, _ body: @escaping @Sendable () async throws -> Void
    )
        async throws
    {
        try await withThrowingTaskGroup(of: Bool.self) { group in
            group.addTask {
                try await body()
                return true
            }
            group.addTask {
                await signal.wait()
                // The body has ended if this sleep is cancelled.
                try? await Task.sleep(for: grace)
                return false
            }
            let hasEnded = try await group.next() ?? true
            if !hasEnded {
                logger.warning("requests were still under way at the end of the grace period, and are cut off")
            }
            group.cancelAll()
            do {
                try await group.waitForAll()
            } catch is CancellationError {
                // The body was cut off, which is not a failure of the service.
            }
        }
    }

    private func buildApplication(_ parts: ServiceParts) throws -> some ApplicationProtocol {
        let http = configuration.http
        let limits = ConnectionLimits(http)
        var server = HTTPServerBuilder { responder in
            GuardedChannel(responder: responder, limits: limits, connections: parts.connections)
        }
        if let tls { server = try .tls(server, tlsConfiguration: tls) }
        let scheme = tls == nil ? "http" : "https"
        let host = http.host.contains(":") ? "[\(http.host)]" : http.host
        return Application(
            responder: parts.responder, server: server,
            configuration: ApplicationConfiguration(
                address: .hostname(http.host, port: configuration.port), serverName: "jobledger", backlog: 4096),
            onServerRunning: { [started, logger] channel in
                do {
                    try await channel.eventLoop.submit {
                        try channel.pipeline.syncOperations.addHandler(ListenerErrors(logger), position: .first)
                    }.get()
                    try await started("\(scheme)://\(host):\(channel.localAddress?.port ?? 0)")
                } catch {
                    logger.error("the start of the service could not be reported", metadata: ["error": "\(error)"])
                }
            }, logger: parts.logger)
    }

    private static func tls(_ files: (certificate: NamedFile, key: NamedFile)) throws -> TLSConfiguration {
        let certificates = try read(files.certificate) { try NIOSSLCertificate.fromPEMFile($0) }
        let key = try read(files.key) { try NIOSSLPrivateKey(file: $0, format: .pem) }
        var tls = TLSConfiguration.makeServerConfiguration(
            certificateChain: certificates.map { .certificate($0) }, privateKey: .privateKey(key))
        tls.applicationProtocols = ["http/1.1"]
        tls.minimumTLSVersion = .tlsv12
        return tls
    }

    private static func read<T>(_ file: NamedFile, _ read: (String) throws -> T) throws -> T {
        do {
            return try read(file.path)
        } catch {
            throw Mistake(description: "TLS: \(file) cannot be used: \(error)")
        }
    }
}
