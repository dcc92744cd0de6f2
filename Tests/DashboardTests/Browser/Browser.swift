import Foundation
import LedgerTesting
import NIOHTTP1

@testable import EmbeddedServices

/// A headless Chromium, driven by Debian's chromedriver.
///
/// Both end with the test process, in whatever way that ends: the driver because it is a child that
/// the kernel kills, and the browser because its pipe to the driver then closes.
struct Browser: Sendable {
    let driver: WebDriver
    /// The path of the session at the driver.
    let session: String
    private let process: ChildProcess
    private let directory: URL

    static func start() async throws -> Browser {
        let directory = try makeDirectory("browser")
        let log = directory.appending(path: "driver.log")
        let process = try await ChildProcess.start(
            [
                try Programs.find("setpriv", package: "util-linux"), "--pdeathsig=KILL", "--",
                try Programs.find("chromedriver", package: "chromium-driver"), "--port=0",
            ],
            // Nothing of the developer's, and the same words and times everywhere.
            environment: [
                "PATH": Programs.path, "HOME": directory.path, "TMPDIR": directory.path, "LANG": "C.UTF-8",
                "TZ": "UTC",
            ],
            log: log.path)
        let port = try await eventually("chromedriver tells its port") { () -> String? in
            let text = (try? String(contentsOf: log, encoding: .utf8)) ?? ""
            if process.hasExited { throw BrowserTrouble(description: "chromedriver ended:\n\(text)") }
            let mark = "started successfully on port "
            guard let line = text.split(separator: "\n").first(where: { $0.contains(mark) }),
                let end = line.range(of: mark)?.upperBound
            else { return nil }
            return String(line[end...].prefix { $0.isNumber })
        }
        let driver = WebDriver(address: "http://127.0.0.1:\(port)")
        let profile = directory.appending(path: "profile")
        let answer = try await driver.send(.POST, "/session", capabilities(profile: profile))
        guard let id = answer["sessionId"]?.text else { throw BrowserTrouble(description: "no session: \(answer)") }
        let browser = Browser(driver: driver, session: "/session/\(id)", process: process, directory: directory)
        try await browser.send(.POST, "/timeouts", ["script": 120_000, "pageLoad": 120_000])
        return browser
    }

    private static func capabilities(profile: URL) -> JSON {
        var arguments = [
            // A pipe, not a port: nobody else can drive the browser, and it ends with the driver.
            "headless=new", "remote-debugging-pipe", "disable-gpu", "disable-dev-shm-usage", "no-first-run",
            "disable-background-networking", "user-data-dir=\(profile.path)", "window-size=1440,900", "lang=en-US",
        ]
        // Chromium's own walls need a user who is not root.
        if geteuid() == 0 { arguments.append("no-sandbox") }
        let options: JSON = ["args": JSON(arguments.map { "--\($0)" })]
        return [
            "capabilities": [
                "alwaysMatch": [
                    "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": ["browser": "ALL"],
                    // An alert is for the test to answer.
                    "unhandledPromptBehavior": "ignore",
                ]
            ]
        ]
    }

    @discardableResult
    func send(_ method: HTTPMethod, _ path: String, _ body: JSON = [:]) async throws -> JSON {
        try await driver.send(method, session + path, body)
    }

    /// A command of Chromium's own protocol, to the tab that is in front.
    @discardableResult
    func chromium(_ command: String, _ parameters: JSON = [:]) async throws -> JSON {
        try await send(.POST, "/goog/cdp/execute", ["cmd": .string(command), "params": parameters])
    }

    /// The version, such as `156.0.8078.114`.
    func version() async throws -> String {
        try await chromium("Browser.getVersion")["product"]?.text ?? "unknown"
    }

    func end() async {
        _ = try? await driver.send(.DELETE, session)
        _ = await process.end(by: [(SIGTERM, .seconds(10)), (SIGKILL, .seconds(10))])
        try? FileManager.default.removeItem(at: directory)
    }
}

/// The browser, or a page in it, did not do what the test needs.
struct BrowserTrouble: Error, CustomStringConvertible {
    let description: String
}
