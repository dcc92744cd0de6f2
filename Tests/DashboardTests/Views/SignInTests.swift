import Foundation
import Testing

extension Dashboard {
    @Suite("signing in and out") struct SignInTests {
        private static let refused = ["the server responded with a status of 401"]

        @Test("an address signs one browser in, once") func byAddress() async throws {
            let stage = try Stage.shared
            let code = try await stage.ledger.run("dashboard", "--url", stage.ledger.url).trimmed
            try await Tab.with(stage.browser, at: stage.ledger.url, expecting: Self.refused) { tab in
                try await tab.forgetAll()
                try await tab.open(code)
                try await tab.untilThere(".wellness")
                let left = try await tab.run("return location.pathname + location.search + document.cookie")
                #expect(left == "/", "the page can read neither the code nor the cookie")

                try await tab.forgetAll()
                try await tab.open(code)
                try await tab.untilText("was used before")
                #expect(try await tab.address() == "/")
                #expect(try await tab.run("return (await fetch('/v1/jobs')).status") == 401)
            }
        }

        @Test("a token becomes a session, which signing out ends") func byToken() async throws {
            let stage = try Stage.shared
            try await Tab.with(stage.browser, at: stage.ledger.url, expecting: Self.refused) { tab in
                try await tab.forgetAll()
                try await tab.open("/jobs?status=failed")
                try await tab.give("jl_nobodyhasthis", to: "#token")
                try await tab.press(Key.enter)
                try await tab.untilText("That token does not work")
                try await tab.enter(stage.ledger.token, into: "#token")
                try await tab.press(Key.enter)
                // The address that was asked for is what one sees.
                try await tab.untilJobs(
                    are: try await stage.ledger.jobs(where: "status = 'failed'"), because: "failed jobs")
                let kept = try await tab.run(
                    "return document.documentElement.outerHTML + JSON.stringify(localStorage) + document.cookie")
                #expect(kept.text?.contains(stage.ledger.token) == false)

                try await tab.click("button[title^='Sign out']")
                try await tab.untilText("You have signed out")
                #expect(try await tab.run("return (await fetch('/v1/jobs')).status") == 401)
                #expect(try await tab.count(".grid-row") == 0)
                try await tab.open("/jobs")
                try await tab.untilThere("#token")
            }
        }

        @Test("revoking the token ends what an open page shows") func revoked() async throws {
            let stage = try Stage.shared
            let made = try JSON(parsing: try await stage.ledger.run("token", "create", "--scope", "read", "--json"))
            let (id, token) = (made["id"]?.text ?? "", made["token"]?.text ?? "")
            try await Tab.with(stage.browser, at: stage.ledger.url, expecting: Self.refused) { tab in
                try await tab.signIn(token)
                try await tab.open("/jobs")
                try await tab.untilShown("Jobs")
                try await stage.ledger.run("token", "revoke", id)
                try await tab.untilText("Your session has ended")
                #expect(try await tab.count(".grid-row") == 0)
            }
        }
    }
}

extension String {
    var trimmed: String { trimmingCharacters(in: .whitespacesAndNewlines) }
}
