import Foundation
import LedgerTesting
import NIOHTTP1
import Testing

/// A tab of the browser, which is in front as long as its test runs.
struct Tab: Sendable {
    let browser: Browser
    /// The address of the service, without a path.
    let origin: String

    /// Runs `body` with a new tab.
    ///
    /// Afterwards it fails the test for each error that the browser's console has, such as a script
    /// that broke or something that the page's policy has stopped, unless `expected` has a part of
    /// its text.
    static func with(
        _ browser: Browser, at origin: String, expecting expected: [String] = [], _ body: (Tab) async throws -> Void
    ) async throws {
        let first = try await browser.send(.GET, "/window")
        let opened = try await browser.send(.POST, "/window/new", ["type": "tab"])
        try await browser.send(.POST, "/window", ["handle": opened["handle"] ?? .null])
        let tab = Tab(browser: browser, origin: origin)
        do {
            try await tab.size(1440, 900)
            try await body(tab)
            // A document of the service that is no page has no icon of its own.
            let harmless = expected + ["/favicon.ico"]
            for entry in try await tab.console() where !harmless.contains(where: entry.contains) {
                Issue.record("the console says: \(entry)")
            }
        } catch {
            let shown = (try? await tab.seen()) ?? "nothing that can be read"
            let said = (try? await tab.console())?.joined(separator: "\n") ?? ""
            Issue.record("\(error)\nThe page shows:\n\(shown.prefix(2000))\nThe console says:\n\(said)")
        }
        _ = try? await browser.send(.DELETE, "/window")
        try await browser.send(.POST, "/window", ["handle": first])
    }

    /// Where the tab is, and the text that it shows.
    func seen() async throws -> String {
        try await run("return location.href + '\\n' + document.body.innerText").text ?? ""
    }

    // MARK: Addresses

    /// Opens an address afresh, as if it were typed into the address bar.
    /// - Parameter path: below the service, or a whole address.
    func open(_ path: String) async throws {
        let url = path.hasPrefix("http") ? path : origin + path
        try await browser.send(.POST, "/url", ["url": .string(url)])
    }

    func reload() async throws { try await browser.send(.POST, "/refresh") }
    func back() async throws { try await browser.send(.POST, "/back") }

    /// The path and the parameters of the present address.
    func address() async throws -> String {
        try await run("return decodeURIComponent(location.pathname + location.search)").text ?? ""
    }

    // MARK: Scripts

    /// Runs the body of a function in the page; `given` has the arguments. It may await.
    ///
    /// The page's policy has no say in this: the browser runs it for its driver.
    /// - Throws: ``BrowserTrouble`` with what the script has thrown.
    @discardableResult
    func run(_ script: String, _ arguments: JSON...) async throws -> JSON {
        let answer = try await asynchronously(
            """
            const body = async () => { \(script)
            }
            body().then(value => done({ value: value ?? null }), error => done({ error: String(error) }))
            """, arguments)
        if let error = answer["error"]?.text { throw BrowserTrouble(description: "\(error), in: \(script)") }
        return answer["value"] ?? .null
    }

    /// Waits until a script returns something that holds, and returns that. What it throws means
    /// that it does not hold yet, so it needs no care for what is not there.
    /// - Throws: `NeverHappened` after the limit, which is no measure of time.
    @discardableResult
    func until(_ what: String, within limit: Duration = .seconds(90), _ script: String, _ arguments: JSON...)
        async throws -> JSON
    {
        var last = ""
        let deadline = ContinuousClock.now.advanced(by: limit)
        while ContinuousClock.now < deadline {
            do {
                let answer = try await asynchronously(Self.polling(script), arguments)
                if let value = answer["value"] { return value }
                last = answer["last"]?.text ?? ""
            } catch let error as WebDriverError where error.isOfNavigation {
                last = error.message
            }
        }
        throw NeverHappened(question: "\(what) (last: \(last))", limit: limit)
    }

    /// Waits until a script returns just this value.
    func until(_ what: String, is expected: JSON, _ script: String, _ arguments: JSON...) async throws {
        var seen = JSON.null
        do {
            _ = try await eventually(within: .seconds(90), what) {
                // The page is asked to wait, for a part of the time.
                let given = [.string(expected.description)] + arguments
                let answer = try await asynchronously(
                    Self.polling(
                        """
                        const wanted = given[0]
                        const value = await (async given => { \(script)
                        })(given.slice(1))
                        seen = JSON.stringify(value)
                        return seen === JSON.stringify(JSON.parse(wanted))
                        """), given)
                if answer["value"] != nil { return true }
                seen = answer["last"] ?? .null
                return nil
            }
        } catch is NeverHappened {
            throw BrowserTrouble(description: "\(what): expected \(expected), but it is \(seen.text ?? "\(seen)")")
        }
    }

    private static func polling(_ script: String) -> String {
        """
        let seen
        const body = async () => { \(script)
        }
        const deadline = performance.now() + 4000
        const look = async () => {
            try {
                const value = await body()
                if (value) return done({ value })
                seen ??= JSON.stringify(value ?? null)
            } catch (error) {
                seen = String(error)
            }
            if (performance.now() > deadline) return done({ last: seen })
            setTimeout(look, 40)
        }
        look()
        """
    }

    private func asynchronously(_ script: String, _ arguments: [JSON]) async throws -> JSON {
        let text = "const given = [...arguments], done = given.pop()\n" + script
        return try await browser.send(
            .POST, "/execute/async", ["script": .string(text), "args": .array(arguments)])
    }

    // MARK: The browser's console

    /// The errors that the console has since the last call, and what the page's policy has stopped.
    func console() async throws -> [String] {
        let log = try await browser.send(.POST, "/se/log", ["type": "browser"])
        return log.elements.compactMap { entry in
            let message = entry["message"]?.text ?? ""
            let isWrong = entry["level"] == "SEVERE" || message.contains("Content Security Policy")
            return isWrong ? message : nil
        }
    }
}
