import ArgumentParser
import Foundation
import LedgerClient
import LedgerCore
import Logging
import ServiceLifecycle
import UnixSignals

/// An example of a service that uses a ledger over HTTP. It reports each job that fails or is
/// truncated, even across restarts of the ledger or of this service.
@main struct Alerts: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "alerts",
        abstract: "Report jobs that fail or are truncated, as it happens.",
        discussion: """
            Reads JOBLEDGER_URL and JOBLEDGER_TOKEN. Stops at Ctrl-C or SIGTERM. After a restart it continues after \
            the last event that it reported.

            EXAMPLE
              env $(grep ^JOBLEDGER_ .jobledger/env) alerts --state alerts.position
            """)

    @Option(help: "The file that keeps the last reported position; created if it is missing.")
    var state = "alerts.position"

    static func main() async {
        do {
            try GivenTexts.checkArguments()
        } catch {
            // This form of writing throws if standard error is closed; the program ends in any
            // case.
            try? FileHandle.standardError.write(contentsOf: Data("alerts: \(error)\n".utf8))
            Foundation.exit(2)
        }
        await main(nil)
    }

    func run() async throws {
        let environment = ProcessInfo.processInfo.environment
        guard let url = environment["JOBLEDGER_URL"] else {
            throw ValidationError(
                "JOBLEDGER_URL is not set: it says where the service is, such as http://127.0.0.1:8080")
        }
        let watch = Watch(
            ledger: try LedgerClient(url: url, token: environment["JOBLEDGER_TOKEN"], retryTimeout: .seconds(300)),
            file: PositionFile(path: state))
        let group = ServiceGroup(
            services: [watch], gracefulShutdownSignals: [.sigterm, .sigint], logger: Logger(label: "alerts"))
        try await group.run()
    }
}

/// Follows the ledger and reports. The position is written after the report, so after a crash an
/// event may be reported twice, but none is left out.
struct Watch: Service {
    let ledger: LedgerClient
    let file: PositionFile

    func run() async throws {
        let events = ledger.subscribe(after: Place(try file.read()), types: [.failed, .truncated])
        do {
            for try await event in events.cancelOnGracefulShutdown() {
                let line = "\(event.time)  \(event.job)  \(event.type.rawValue): \(Self.reason(event))"
                // The sender of an event chooses its texts, and a terminal obeys control
                // characters.
                try FileHandle.standardOutput.write(contentsOf: Data((line.printable + "\n").utf8))
                try file.write(event.position)
            }
        } catch is CancellationError {
            // A shutdown while it waited. Everything that was reported is recorded.
        }
    }

    private struct Reason: Decodable {
        var error: String?
        var reason: String?
    }

    private static func reason(_ event: FeedEvent) -> String {
        let reason = try? JSONDecoder().decode(Reason.self, from: Data((event.data ?? "{}").utf8))
        return reason?.error ?? reason?.reason ?? "no reason given"
    }
}

/// A position in a file, which is replaced atomically.
struct PositionFile: Sendable {
    let path: String

    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    func read() throws -> Position {
        guard FileManager.default.fileExists(atPath: path) else { return 0 }
        let text = try String(contentsOfFile: path, encoding: .utf8).trimmingCharacters(in: .whitespacesAndNewlines)
        guard let position = Position(position: text) else {
            throw Malformed(
                description:
                    "\(path) contains \"\(text)\", which is not a position; remove it to begin at the start of the log")
        }
        return position
    }

    func write(_ position: Position) throws {
        try Data("\(position)\n".utf8).write(to: URL(filePath: path), options: .atomic)
    }
}
