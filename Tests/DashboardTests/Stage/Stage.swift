import Foundation
import LedgerTesting
import Testing

/// What the tests share, because it takes long to start: one browser, and one full ledger.
struct Stage: Sendable {
    let browser: Browser
    /// Nobody damages it. What tests append to it, others see.
    let ledger: LookedAtLedger

    @TaskLocal fileprivate static var current: Stage?

    static var shared: Stage {
        get throws {
            guard let current else { throw BrowserTrouble(description: "a test outside the suite of the dashboard") }
            return current
        }
    }

    /// Opens a tab that is signed in to the full ledger.
    static func tab(
        expecting expected: [String] = [], _ body: (Tab, LookedAtLedger) async throws -> Void
    ) async throws {
        let stage = try shared
        try await stage.ledger.tab(stage.browser, expecting: expected) { try await body($0, stage.ledger) }
    }
}

/// Starts the stage before the first test of a suite, and ends it after the last.
struct StageTrait: SuiteTrait, TestScoping {
    func provideScope(
        for test: Test, testCase: Test.Case?, performing tests: @Sendable () async throws -> Void
    ) async throws {
        let up = try await UpLedger.start()
        do {
            let browser = try await Browser.start()
            do {
                try await up.fill()
                try await Stage.$current.withValue(Stage(browser: browser, ledger: up.ledger)) { try await tests() }
            } catch {
                await browser.end()
                throw error
            }
            await browser.end()
        } catch {
            await up.end()
            throw error
        }
        await up.end()
    }
}

extension Trait where Self == StageTrait {
    static var stage: Self { StageTrait() }
}

/// All tests of the dashboard. They run one at a time, because one tab is in front.
@Suite("The dashboard", .serialized, .stage) enum Dashboard {}
