import ArgumentParser
import LedgerServer
import LedgerSettings

struct Serve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Serve the ledger over HTTP.",
        discussion: """
            Runs until SIGTERM or Ctrl-C. Every request needs a token (`jobledger token create`), unless --no-auth says otherwise, which is \
            for a loopback address alone. TLS, limits and CORS are settings: see docs/http.md. The address is the first line of output.

            EXAMPLE
              jobledger token create --scope append,read
              jobledger serve --port 8080
              jobledger serve --port 0 --no-auth
            """)

    @Option(help: "The address to listen on; JOBLEDGER_HTTP_HOST, or 127.0.0.1, unless given.")
    var host: String?

    @Option(
        help: "The port, 0 for a free one; JOBLEDGER_HTTP_PORT, or 8080, unless given.",
        transform: NumberOption.integer("--port", 0...65535))
    var port: Int?

    @Flag(help: "Ask for no token. Only on a loopback address.")
    var noAuth = false

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
            logger: logger
        ) { url in
            if json { try Output.json(Line(url: url)) } else { try Output.line(url) }
        }
        try await settings.serve([service], logger: logger)
    }
}
