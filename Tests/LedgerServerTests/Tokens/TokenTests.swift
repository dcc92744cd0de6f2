import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

@Suite("tokens") struct TokenTests {
    /// Every operation of the OpenAPI document: method, path and required scope.
    static func operations(_ service: TestService) async throws -> [(method: String, path: String, scope: Scope?)] {
        let document = try await service.ask("GET", "/openapi.json", token: "").json
        return try document["paths"].members.flatMap { path, item in
            try item.members.filter { ["get", "post", "put", "delete", "patch"].contains($0.key) }.map {
                method, operation in
                // Where a token is optional, the first requirement is empty.
                guard let requirement = operation["security"].elements.first, !requirement.members.isEmpty else {
                    return (method.uppercased(), path, nil)
                }
                let name = requirement["bearer"][0].text ?? ""
                guard let scope = LedgerServer.Scope(rawValue: name) else {
                    throw NeverHappened(question: "a scope of this name: \(name)", limit: .zero)
                }
                let asked = path.replacing("{id}", with: "a").replacing("{category}", with: "job")
                return (method.uppercased(), asked, scope)
            }
        }
    }

    @Test("no route answers without a token that has its scope, and none changes anything") func everyRoute()
        async throws
    {
        try await TestService.with { service in
            let operations = try await Self.operations(service)
            #expect(operations.count == 23 && operations.count { $0.scope != nil } == 19)
            let revoked = try await service.tokens.create(Set(Scope.allCases))
            _ = try await service.tokens.revoke(revoked.id)
            let unknown = AccessToken.random()
            for (method, path, scope) in operations {
                let body =
                    method == "POST"
                    ? path != "/v1/events"
                        ? #"{"type":"queued","data":{"name":"x"}}"#
                        : #"[{"job":"a","type":"queued","data":{"name":"x"}}]"# : nil
                func ask(_ token: String, _ headers: [String: String] = [:]) async throws -> TestService.Answer {
                    try await service.ask(method, path, body, token: token, headers: headers)
                }
                guard let scope else {
                    #expect(try await ask("").status < 400, "\(method) \(path)")
                    continue
                }
                for token in [
                    "", "nonsense", unknown.text, revoked.text, String(service.token.dropLast()) + "x",
                    service.token + "x",
                ] {
                    for accept in ["*/*", "text/event-stream"] {
                        let answer = try await ask(token, ["accept": accept])
                        #expect(
                            answer.status == 401 && answer.code == "unauthorized",
                            "\(method) \(path) \(token): \(answer)")
                        #expect(answer.headers["www-authenticate"]?.hasPrefix("Bearer") == true)
                        #expect(!answer.text.contains(service.token))
                    }
                }
                #expect(try await ask("", ["authorization": "Basic \(service.token)"]).status == 401)
                let others = try await service.tokens.create(Set(Scope.allCases).subtracting([scope]))
                let forbidden = try await ask(others.text)
                #expect(forbidden.status == 403 && forbidden.code == "forbidden", "\(method) \(path): \(forbidden)")
            }
            #expect(try await service.ledger.count() == 0)
        }
    }

    @Test("a revoked token stops working within seconds, and a new one works at once") func revoke() async throws {
        try await TestService.with { service in
            let token = try await service.tokens.create([.read], name: "for a while")
            #expect(try await service.ask("GET", "/v1/events", token: token.text).status == 200)
            #expect(try await service.tokens.revoke(token.id))
            #expect(try await !service.tokens.revoke(token.id))
            #expect(TokenCheck.validity <= .seconds(2))
            _ = try await eventually("the token is refused") {
                try await service.ask("GET", "/v1/events", token: token.text).status == 401 ? true : nil
            }
            let entry = try #require(try await service.tokens.list().first { $0.id == token.id })
            #expect(entry.name == "for a while" && entry.scopes == ["read"] && entry.revokedAt != nil)
        }
    }

    @Test("the ledger stores no token's text, and roles cannot read the tokens") func table() async throws {
        try await TestLedger.with { ledger in
            let token = try await TokenStore(ledger.store).create([.append, .read])
            let connection = try await ledger.connect()
            let text: String = try await connection.query("SELECT (SELECT tokens FROM tokens)::text").only().decode(0)
            let secret = try #require(token.text.split(separator: "_", maxSplits: 2).last)
            #expect(!text.contains(secret) && !"\(token)".contains(secret))
            var dumped = ""
            dump(token, to: &dumped)
            #expect(!dumped.contains(secret))
            for role in ["appender", "reader"] {
                for sql in [
                    "SELECT * FROM tokens", "SELECT hash FROM tokens", "DELETE FROM tokens",
                    "INSERT INTO tokens (id) VALUES ('')",
                ] {
                    await #expect(throws: (any Error).self, "\(role): \(sql)") {
                        try await connection.transaction { connection in
                            try await connection.execute(script: "SET LOCAL ROLE \"\(ledger.name)_\(role)\"")
                            _ = try await connection.query(sql)
                        }
                    }
                }
            }
            // A server needs only this function.
            let scopes = try await connection.transaction { connection in
                try await connection.execute(script: "SET LOCAL ROLE \"\(ledger.name)_reader\"")
                return try await connection.query(
                    "SELECT scopes_of_token($1, decode($2, 'hex'))", token.id, token.hexHash
                ).only()
                    .decode(0, as: [String]?.self)
            }
            #expect(scopes == ["append", "read"])
            await connection.close()
        }
    }

    @Test(
        "texts that cannot be tokens",
        arguments: [
            "", "jl_", "jl_0123456789ab_", "jl_0123456789AB_" + String(repeating: "a", count: 43),
            "xx_0123456789ab_" + String(repeating: "a", count: 43),
            "jl_0123456789ab_" + String(repeating: "=", count: 43),
        ])
    func malformed(text: String) { #expect(AccessToken(text) == nil) }

    @Test("a token's text can be parsed again") func roundTrip() throws {
        for _ in 0..<200 {
            let token = AccessToken.random()
            let read = try #require(AccessToken(token.text))
            #expect(read.id == token.id && read.hash == token.hash)
        }
    }

    @Test("without tokens the service answers only requests to loopback names") func noTokens()
        async throws
    {
        try await TestService.with(needsToken: false) { service in
            #expect(try await service.ask("GET", "/v1/events", token: "").status == 200)
            let foreign = try await service.ask(
                "GET", "/v1/events", token: "", headers: ["host": "attacker.example:80"])
            #expect(foreign.status == 421)
            #expect(
                try await service.ask("GET", "/v1/events", token: "", headers: ["host": "localhost:1"]).status == 200)
        }
    }
}
