import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres

/// A ledger with a service that has a dashboard, and SQL to compare the page with.
struct LookedAtLedger: Sendable {
    /// The address of the service, without a path.
    let url: String
    /// A token that may read.
    let token: String
    let databaseURL: String
    let name: LedgerName
    /// With which the program works on the ledger.
    let environment: [String: String]

    // MARK: SQL

    /// The first column of a query, as texts.
    func sql(_ query: String) async throws -> [String] {
        let connection = try await connect()
        let rows = try await connection.query("SELECT of.answer::text FROM (\(query)) AS of(answer)")
        let texts = try rows.map { try $0.decode(0, as: String?.self) ?? "null" }
        await connection.close()
        return texts
    }

    func number(_ query: String) async throws -> Int {
        guard let number = try await sql(query).first.flatMap({ Int($0) }) else {
            throw BrowserTrouble(description: "no number: \(query)")
        }
        return number
    }

    /// Runs statements, each in its own transaction: appends hold the log no longer than one takes.
    func execute(_ statements: String...) async throws {
        let connection = try await connect()
        for statement in statements { try await connection.execute(script: statement) }
        await connection.close()
    }

    private func connect() async throws -> PostgresConnection {
        try await PostgresConnection.connect(
            EventStore.configuration(url: databaseURL, ledger: name, applicationName: "test"), timeout: .seconds(60))
    }

    func append(_ job: String, _ type: String, _ data: String = "{}", actor: String = "ada") async throws {
        func quoted(_ text: String) -> String { "'\(text.replacing("'", with: "''"))'" }
        try await execute(
            "SELECT append_event(\(quoted(job)), \(quoted(type)), \(quoted(data))::json, "
                + "json_build_object('actor', \(quoted(actor))))")
    }

    func head() async throws -> Int { try await number("SELECT coalesce(max(position), 0) FROM events") }

    /// Waits until every read model has every event.
    func untilProjected() async throws {
        _ = try await eventually("all projections have the log") {
            let behind = try await number(
                "SELECT count(*) FROM projections WHERE position < (SELECT max(position) FROM events)")
            let all = try await number("SELECT count(*) FROM projections")
            return behind == 0 && all > 0 ? true : nil
        }
    }

    // MARK: The program

    @discardableResult
    func run(_ arguments: String...) async throws -> String {
        try await BuiltProgram.jobledger.run(arguments, environment: environment)
    }

    // MARK: The page

    /// Opens a tab that is signed in, and knows nothing of tests before it.
    func tab(_ browser: Browser, expecting expected: [String] = [], _ body: (Tab) async throws -> Void) async throws {
        try await Tab.with(browser, at: url, expecting: expected) { tab in
            try await tab.signIn(token)
            try await body(tab)
        }
    }
}

extension Tab {
    /// Signs the browser in, without the form.
    func signIn(_ token: String) async throws {
        try await browser.chromium("Network.clearBrowserCookies")
        try await prefer()
        // Any document of the service will do, and this one runs no script of its own.
        try await open("/dashboard/icon.svg")
        let status = try await run(
            """
            localStorage.clear()
            const body = JSON.stringify({ token: given[0] })
            const headers = { "Content-Type": "application/json" }
            return (await fetch("/v1/session", { method: "POST", headers, body })).status
            """, .string(token))
        guard status == 200 else { throw BrowserTrouble(description: "signing in was answered with \(status)") }
    }

    /// Leaves no session, and nothing that a page has kept.
    func forgetAll() async throws {
        try await browser.chromium("Network.clearBrowserCookies")
        try await open("/dashboard/icon.svg")
        try await run("localStorage.clear()")
    }
}
