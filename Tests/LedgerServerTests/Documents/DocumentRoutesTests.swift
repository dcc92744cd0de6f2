import Categories
import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

/// Who is told which categories the ledger has.
@Suite struct DocumentRoutesTests {
    private static let paths = ["/openapi.json", "/asyncapi.json"]

    /// A service whose ledger has the categories that ship.
    private func withCategories(
        needsToken: Bool = true, _ body: @Sendable (TestService) async throws -> Void
    ) async throws {
        try await TestService.with(needsToken: needsToken) { service in
            let owner = try await service.ledger.connect()
            try await CategoryInstall.install(try CategoryDefinition.all(), on: owner)
            await owner.close()
            try await body(service)
        }
    }

    private func tellsCategories(_ answer: TestService.Answer) -> Bool {
        answer.text.contains("user.registered") || answer.text.contains("discord_id")
    }

    @Test func onlyAValidTokenIsToldTheCategories() async throws {
        try await withCategories { service in
            let revoked = try await service.tokens.create([.read])
            _ = try await service.tokens.revoke(revoked.id)
            for path in Self.paths {
                for scope in Scope.allCases {
                    let token = try await service.tokens.create([scope]).text
                    let answer = try await service.ask("GET", path, token: token)
                    #expect(answer.status == 200 && tellsCategories(answer), "\(path) \(scope)")
                    #expect(answer.headers["vary"] == "Authorization")
                    #expect(answer.headers["content-type"] == "application/json")
                }
                for token in ["", "nonsense", AccessToken.random().text, revoked.text] {
                    let answer = try await service.ask("GET", path, token: token)
                    #expect(answer.status == 200 && !tellsCategories(answer), "\(path) \(token)")
                    #expect(answer.headers["vary"] == "Authorization")
                }
                let malformed = try await service.ask(
                    "GET", path, token: "", headers: ["authorization": "Basic \(service.token)"])
                #expect(malformed.status == 200 && !tellsCategories(malformed))
                // Only event streams take a token in the address.
                let inAddress = try await service.ask("GET", "\(path)?access_token=\(service.token)", token: "")
                #expect(!tellsCategories(inAddress))
            }
        }
    }

    @Test func withoutTokensEveryoneIsTold() async throws {
        try await withCategories(needsToken: false) { service in
            for path in Self.paths {
                let answer = try await service.ask("GET", path, token: "")
                #expect(tellsCategories(answer), "\(path)")
            }
        }
    }

    @Test func everyPathOfACategoryIsARoute() async throws {
        try await withCategories { service in
            let openapi = try await service.ask("GET", "/openapi.json").json
            let paths = openapi["paths"].members.filter {
                $0.key.hasPrefix("/v1/streams/") && !$0.key.contains("{category}")
            }
            #expect(paths.count == 4)
            for (path, item) in paths {
                for method in ["get", "post"] {
                    #expect(!item[method].isNull)
                    let asked = path.replacing("{id}", with: "a")
                    // The route is found before the token is missed.
                    #expect(try await service.ask(method.uppercased(), asked, token: "").status == 401, "\(path)")
                }
            }
            let asyncapi = try await service.ask("GET", "/asyncapi.json").json
            let addresses = asyncapi["channels"].members.values.compactMap { $0["address"].text }
            for address in addresses where address.hasPrefix("/v1/streams/") {
                #expect(!openapi["paths"][address]["get"].isNull, "\(address)")
            }
            #expect(addresses.contains("\(service.ledger.name):user:{id}"))
        }
    }

    @Test func aChangedCategoryIsShownSoon() async throws {
        try await withCategories { service in
            let before = try await service.ask("GET", "/openapi.json")
            #expect(tellsCategories(before) && !before.text.contains("/v1/streams/visit/"))
            let owner = try await service.ledger.connect()
            let visit = #"{"name": "visit", "life": {"": ["began"], "began": []}}"#
            try await TestCategories.install(visit, "1", "BEGIN RETURN null; END", on: owner)
            await owner.close()
            _ = try await eventually("the document has the category") {
                try await service.ask("GET", "/openapi.json").text.contains("/v1/streams/visit/") ? true : nil
            }
        }
    }

    /// An older ledger, or a role without the right, is no reason to fail.
    @Test func aLedgerThatCannotTellIsNoFailure() async throws {
        try await withCategories { service in
            let owner = try await service.ledger.connect()
            try await owner.execute(script: "ALTER TABLE categories RENAME TO hidden")
            await owner.close()
            for path in Self.paths {
                let answer = try await service.ask("GET", path)
                #expect(answer.status == 200 && !tellsCategories(answer), "\(path)")
                let description = answer.json["info"]["description"].text ?? ""
                #expect(description.hasSuffix("because the ledger could not be asked for them."), "\(description)")
            }
        }
    }
}
