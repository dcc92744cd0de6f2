import ArgumentParser
import EventStore
import LedgerServer
import LedgerSettings

struct TokenCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "token",
        abstract: "Make, list and revoke the tokens of the HTTP service.",
        discussion: """
            A token is shown only once, because the ledger keeps only its hash. The scopes are append, read and admin; \
            none includes another. A revoked token is refused after 2 s at the latest, and its open streams end within \
            10 s.

            EXAMPLE
              jobledger token create --scope append,read --name backtester
              jobledger token list
              jobledger token revoke 3f2a9c41d07e
            """,
        subcommands: [Create.self, List.self, Revoke.self])

    struct Create: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Make a token and show it, once.",
            discussion: """
                EXAMPLE
                  jobledger token create --scope append,read --name backtester
                """)

        @Option(
            help: ArgumentHelp(
                "What the token allows: append, read, admin, separated by commas.", valueName: "scopes"))
        var scope: String

        @Option(help: "A name by which people recognize the token.")
        var name = ""

        @OptionGroup var options: LedgerOptions

        private struct Answer: Encodable {
            var id: TokenID
            var token: String
            var scopes: [String]
            var name: String
        }

        private func scopes() throws -> Set<Scope> {
            let scopes = try scope.split(separator: ",").map { text in
                guard let scope = Scope(rawValue: String(text)) else {
                    throw ValidationError(
                        "--scope: \(text) is none of \(Scope.allCases.map(\.rawValue).joined(separator: ", "))."
                    )
                }
                return scope
            }
            guard !scopes.isEmpty else { throw ValidationError("--scope must name at least one scope.") }
            return Set(scopes)
        }

        func validate() throws {
            _ = try scopes()
            if name.count > 200 { throw ValidationError("--name may have at most 200 characters.") }
        }

        func run() async throws {
            let store = try await options.settings().store()
            let scopes = try scopes()
            let token = try await TokenStore(store).create(scopes, name: name)
            await store.close()
            if options.json {
                let names = Scope.allCases.filter(scopes.contains).map(\.rawValue)
                try Output.json(Answer(id: token.id, token: token.text, scopes: names, name: name))
            } else {
                try Output.line(token.text)
                Output.diagnostic("This is the token \(token.id). It is not shown again.")
            }
        }
    }

    struct List: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "List the tokens, one a line.",
            discussion: """
                EXAMPLE
                  jobledger token list --json
                """)

        @OptionGroup var options: LedgerOptions

        private struct Line: Encodable {
            var id: TokenID
            var name: String
            var scopes: [String]
            var createdAt: String
            var revokedAt: String?
        }

        func run() async throws {
            let store = try await options.settings().store()
            let entries = try await TokenStore(store).list()
            await store.close()
            for entry in entries {
                if options.json {
                    try Output.json(
                        Line(
                            id: entry.id, name: entry.name, scopes: entry.scopes, createdAt: entry.createdAt,
                            revokedAt: entry.revokedAt))
                } else {
                    let state = entry.revokedAt.map { "revoked \($0)" } ?? "valid"
                    let scopes = entry.scopes.joined(separator: ",")
                    try Output.line(
                        "\(entry.id)  \(entry.createdAt)  \(scopes)  \(state)  \(Output.printable(entry.name))")
                }
            }
        }
    }

    struct Revoke: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Revoke a token.",
            discussion: """
                EXAMPLE
                  jobledger token revoke 3f2a9c41d07e
                """)

        @Argument(help: "The token's id, as `token list` shows it.")
        var id: TokenID

        @OptionGroup var options: LedgerOptions

        private struct Answer: Encodable {
            var id: TokenID
            var revoked: Bool
        }

        func run() async throws {
            let store = try await options.settings().store()
            let isRevoked = try await TokenStore(store).revoke(id)
            await store.close()
            if options.json { try Output.json(Answer(id: id, revoked: isRevoked)) }
            guard isRevoked else {
                Output.diagnostic("there is no valid token \(Output.printable(id))")
                throw Failure.refused
            }
            if !options.json { try Output.line("revoked \(id)") }
        }
    }
}
