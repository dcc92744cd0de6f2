import EmbeddedServices
import Foundation
import LedgerCore
import LedgerSettings

extension LedgerSettings {
    /// Runs `body` with the address of a server for scratch ledgers: the configured one, otherwise
    /// a private one that is removed afterwards.
    func withScratchServer<T: Sendable>(_ body: (_ url: String) async throws -> T) async throws -> T {
        if let url = databaseURL { return try await body(url.revealed) }
        let directory = FileManager.default.temporaryDirectory.appending(path: "jobledger-scratch-\(UUID().uuidString)")
        let server = try await PrivatePostgres.start(directory: directory, settings: ["fsync": "off"])
        let result: Result<T, any Error>
        do {
            result = .success(try await body(server.url))
        } catch {
            result = .failure(error)
        }
        try await server.stop()
        try FileManager.default.removeItem(at: directory)
        return try result.get()
    }
}
