import Foundation
import LedgerCore
import LedgerTesting

@testable import EmbeddedServices

/// `jobledger up` in a directory of its own, with the demo's job and many others in it.
struct UpLedger: Sendable {
    let ledger: LookedAtLedger
    private let program: BuiltProgram.Running
    private let directory: URL

    /// The job of `make demo`, with 3,000 runs over three variables.
    static let demo = "sma-crossover"

    static func start() async throws -> UpLedger {
        let directory = try makeDirectory("up")
        let program = try await BuiltProgram.jobledger.start(["up", "--data-dir", directory.path, "--port", "0"])
        _ = try await eventually("up is ready") { () -> Bool? in
            if program.process.hasExited { throw BrowserTrouble(description: "up ended:\n\(program.errors)") }
            return FileManager.default.fileExists(atPath: directory.appending(path: "ready").path) ? true : nil
        }
        let settings = try Self.settings(directory)
        func setting(_ name: String) throws -> String {
            guard let value = settings[name] else { throw BrowserTrouble(description: "env lacks \(name)") }
            return value
        }
        let ledger = LookedAtLedger(
            url: try setting("JOBLEDGER_URL"), token: try setting("JOBLEDGER_TOKEN"),
            databaseURL: try setting("DATABASE_URL"), name: .standard,
            environment: settings)
        return UpLedger(ledger: ledger, program: program, directory: directory)
    }

    private static func settings(_ directory: URL) throws -> [String: String] {
        let text = try String(contentsOf: directory.appending(path: "env"), encoding: .utf8)
        let pairs = text.split(separator: "\n").compactMap { line -> (String, String)? in
            guard !line.hasPrefix("#"), let equals = line.firstIndex(of: "=") else { return nil }
            return (String(line[..<equals]), String(line[line.index(after: equals)...]))
        }
        return Dictionary(pairs) { $1 }
    }

    /// Ends the ledger as Ctrl-C does, so that its servers end too.
    func end() async {
        _ = await program.process.end(by: [(SIGTERM, .seconds(60)), (SIGKILL, .seconds(10))])
        try? FileManager.default.removeItem(at: directory)
    }

    /// The demo, and 1,200 jobs in all states, of several kinds, actors, variables and teams.
    func fill() async throws {
        let prices = Repository.root.appending(path: "data/prices").path
        try await BuiltProgram.demo.run(
            ["--job", Self.demo, "--limit", "3000", "--prices", prices], environment: ledger.environment)
        for first in [1, 401, 801] {
            try await ledger.execute(
                Self.queued(first...(first + 399)),
                Self.append("progress", "n % 10 > 1", first...(first + 399), "'completed', n % 50 + 1"),
                Self.append("truncated", "n % 9 = 0", first...(first + 399), "'reason', 'limit', 'limit', 60"),
                Self.append(
                    "failed", "n % 10 = 3", first...(first + 399), "'error', 'Stack overflow in worker ' || n"),
                Self.append(
                    "finished", "n % 10 > 4", first...(first + 399),
                    "'results', json_build_object('summary', json_build_object('n', n))"))
        }
        try await ledger.untilProjected()
    }

    private static func queued(_ numbers: ClosedRange<Int>) -> String {
        """
        SELECT append_event(
                 'grid-' || lpad(n::text, 4, '0'), 'queued',
                 json_build_object(
                   'name', (ARRAY['Nightly risk', 'Walk-forward', 'Calibration', 'Repricing'])[n % 4 + 1] || ' ' || n,
                   'kind', CASE WHEN n % 7 = 0 THEN 'local' ELSE 'server' END, 'total', 60,
                   'variables', CASE WHEN n % 3 = 0
                     THEN '[{"name": "ticker", "values": ["SPY", "QQQ"], "count": 2}]'::json
                     ELSE '[{"name": "seed", "values": [1, 2], "count": 2}]'::json END),
                 json_build_object('actor', (ARRAY['ada', 'bob', 'eve'])[n % 3 + 1],
                                   'team', CASE WHEN n % 20 = 0 THEN 'research' ELSE 'desk' END))
          FROM generate_series(\(numbers.lowerBound), \(numbers.upperBound)) AS n
        """
    }

    private static func append(_ type: String, _ which: String, _ numbers: ClosedRange<Int>, _ data: String) -> String {
        """
        SELECT append_event('grid-' || lpad(n::text, 4, '0'), '\(type)', json_build_object(\(data)),
                            json_build_object('actor', 'worker-' || n % 4))
          FROM generate_series(\(numbers.lowerBound), \(numbers.upperBound)) AS n WHERE \(which)
        """
    }
}
