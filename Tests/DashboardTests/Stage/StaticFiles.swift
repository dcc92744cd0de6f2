import Foundation
import LedgerTesting

@testable import EmbeddedServices

/// The files of the working copy at an address of their own, as somebody else's site.
struct StaticFiles: Sendable {
    let address: String

    static func with(_ body: (StaticFiles) async throws -> Void) async throws {
        let python = BuiltProgram(path: try Programs.find("python3", package: "python3"))
        let server = try await python.start(
            ["-u", "-m", "http.server", "--bind", "127.0.0.1", "--directory", Repository.root.path, "0"])
        do {
            // "Serving HTTP on 127.0.0.1 port 34567 (http://127.0.0.1:34567/) ..."
            let line = try await server.firstLine()
            guard let start = line.range(of: "(http"), let end = line.range(of: "/)") else {
                throw BrowserTrouble(description: "the server of files says: \(line)")
            }
            try await body(StaticFiles(address: "http" + line[start.upperBound..<end.lowerBound]))
        } catch {
            await server.kill()
            throw error
        }
        await server.kill()
    }
}
