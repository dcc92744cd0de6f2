package import Foundation

/// Runs `body` with the path of a new directory below `parent`. `body` makes the directory if it
/// needs it; it is removed afterwards.
package func withDirectory(in parent: String = "/tmp", _ body: (URL) async throws -> Void) async throws {
    let directory = URL(filePath: "\(parent)/jobledger-tests-\(UInt32.random(in: 0 ... .max))")
    defer { try? FileManager.default.removeItem(at: directory) }
    try await body(directory)
}
