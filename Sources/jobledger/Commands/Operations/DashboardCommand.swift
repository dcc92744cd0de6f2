import ArgumentParser
import EventStore
import Foundation
import LedgerCore
import LedgerServer
import LedgerSettings

struct DashboardCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dashboard",
        abstract: "Print an address that signs a browser in to the dashboard.",
        discussion: """
            The address works once, within 15 minutes. The browser's session only reads, lasts 30 days at most, and \
            ends when one signs out or its token is revoked. The token is one named dashboard, which is made if there \
            is none, unless --token names another. `jobledger token revoke` ends all sessions of a token.

            EXAMPLE
              jobledger dashboard --data-dir .jobledger
              jobledger dashboard --url https://ledger.example
            """)

    @Option(
        help: ArgumentHelp(
            "The address of the HTTP service. Default: JOBLEDGER_URL, which `jobledger up` writes.", valueName: "url"))
    var url: String?

    @Option(
        help: ArgumentHelp("The id of the token whose session it is. It must have the scope read.", valueName: "id"))
    var token: TokenID?

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var url: String
        var token: TokenID
        var expiresAt: String
    }

    func run() async throws {
        let settings = try await options.settings()
        let service = try service(settings)
        let store = try settings.store()
        if let token, try await !Self.mayRead(token, store) {
            await store.close()
            Output.diagnostic("there is no valid token \(Output.printable(token)) with the scope read")
            throw Failure.refused
        }
        let code = try await SignInCodes(store).make(of: token)
        await store.close()
        let address = code.address(at: service)
        if options.json {
            try Output.json(Answer(url: address, token: code.token, expiresAt: code.expiresAt.description))
        } else {
            try Output.line(address)
            Output.diagnostic(
                "It signs one browser in, until \(code.expiresAt). Its token is \(code.token): "
                    + "jobledger token revoke ends its sessions.")
        }
    }

    private static func mayRead(_ token: TokenID, _ store: EventStore) async throws -> Bool {
        try await TokenStore(store).list().contains {
            $0.id == token && $0.revokedAt == nil && $0.scopes.contains(Scope.read.rawValue)
        }
    }

    /// The address of the service, without a path.
    private func service(_ settings: LedgerSettings) throws -> String {
        guard settings.http.dashboard else {
            throw LedgerSettings.Problem(
                description: "JOBLEDGER_HTTP_DASHBOARD is off, so the service has no dashboard to sign in to")
        }
        guard let given = try url ?? settings.serviceURL() else {
            throw LedgerSettings.Problem(
                description: "the address of the service is not known: give --url, set JOBLEDGER_URL, or name the "
                    + "directory of a running jobledger up by --data-dir")
        }
        guard let parts = URLComponents(string: given), ["http", "https"].contains(parts.scheme?.lowercased()),
            parts.host?.isEmpty == false, parts.user == nil, parts.query == nil, parts.fragment == nil,
            ["", "/"].contains(parts.path)
        else {
            throw LedgerSettings.Problem(
                url == nil ? "JOBLEDGER_URL" : "--url",
                "must be the address of the service, such as https://ledger.example")
        }
        return given.hasSuffix("/") ? String(given.dropLast()) : given
    }
}
