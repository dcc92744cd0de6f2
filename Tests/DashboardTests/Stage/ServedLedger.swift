import Foundation
import LedgerCore
import LedgerTesting

@testable import EmbeddedServices

/// `jobledger serve` on a ledger of a test's own: the test may kill it, and damage the ledger.
struct ServedLedger: Sendable {
    let ledger: LookedAtLedger
    let store: TestLedger
    /// `jobledger project`, which folds the log into the read models.
    let projector: BuiltProgram.Running

    /// Runs `body` beside `serve` and `project` on a new ledger.
    /// - Parameter environment: settings in addition to those of the ledger.
    static func with(
        _ environment: [String: String] = [:], _ body: (ServedLedger, Service) async throws -> Void
    ) async throws {
        let redis = try await TestServers.shared.redisURL()
        try await TestLedger.with { store in
            let environment = environment.merging([
                "DATABASE_URL": store.url, "REDIS_URL": redis, "JOBLEDGER_SCHEMA": store.name.text,
            ]) { $1 }
            let made = try await BuiltProgram.jobledger.run(
                ["token", "create", "--scope", "read", "--json"], environment: environment)
            let service = Service(environment: environment)
            let projector = try await BuiltProgram.jobledger.start(["project"], environment: environment)
            do {
                let url = try await service.start()
                let ledger = LookedAtLedger(
                    url: url, token: try JSON(parsing: made)["token"]?.text ?? "", databaseURL: store.url,
                    name: store.name, environment: environment)
                try await body(ServedLedger(ledger: ledger, store: store, projector: projector), service)
            } catch {
                await service.kill()
                await projector.kill()
                throw error
            }
            await service.kill()
            await projector.kill()
        }
    }

    /// The service, which can be killed and started again at the same address.
    actor Service {
        private let environment: [String: String]
        private var running: BuiltProgram.Running?
        private var port = "0"

        init(environment: [String: String]) { self.environment = environment }

        /// - Returns: the address of the service, without a path.
        @discardableResult
        func start() async throws -> String {
            let running = try await BuiltProgram.jobledger.start(["serve", "--port", port], environment: environment)
            self.running = running
            let url = try await running.firstLine()
            port = url.split(separator: ":").last.map(String.init) ?? "0"
            return url
        }

        func kill() async {
            await running?.kill()
            running = nil
        }
    }
}
