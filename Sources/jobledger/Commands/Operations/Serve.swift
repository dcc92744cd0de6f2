import ArgumentParser
import LedgerServer
import LedgerSettings

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve the ledger over HTTP.",
        discussion: """
            Runs until SIGTERM or Ctrl-C. Every request needs a token (`jobledger token create`). --no-auth turns \
            tokens off and works only on a loopback address. TLS, limits and CORS are settings: see docs/http.md. The \
            first line of output is the address. While the database cannot be reached, it waits, and does not listen.

            EXAMPLE
              jobledger token create --scope append,read
              jobledger serve --port 8080
              jobledger serve --port 0 --no-auth
            """)

    @Option(help: "The address to listen on. Default: JOBLEDGER_HTTP_HOST, otherwise 127.0.0.1.")
    var host: String?

    @Option(
        help: "The port, 0 for a free one. Default: JOBLEDGER_HTTP_PORT, otherwise 8080.",
        transform: NumberOption.integer("--port", 0...65535))
    var port: Int?

    @Flag(help: "Serve requests without a token. Only on a loopback address.")
    var noAuth = false

    @OptionGroup var projections: ProjectionOptions
    @OptionGroup var options: LedgerOptions

    private struct Line: Encodable {
        var url: String
    }

    func run() async throws {
        let settings = try await options.settings()
        let logger = settings.logger("serve")
        let json = options.json
        let service = try settings.service(
            host: host, port: port ?? settings.http.port ?? HTTPSettings.standardPort, needsToken: !noAuth,
            projections: projections.definitions(), logger: logger
        ) { url in
            if json { try Output.json(Line(url: url)) } else { try Output.line(url) }
        }
        try await settings.serve([service], logger: logger)
    }
}
