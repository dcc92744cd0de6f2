import BlockingIO
import EmbeddedServices
import Logging

/// Starts a server again when it ends while we run, for as long as it takes: what kept it down, a
/// full disk say, may last, and the rest of us answers meanwhile that it is away.
struct ServerRestarts: Sendable {
    let name: String
    let logger: Logger
    /// From one attempt to the next.
    private static let longestPause = Duration.seconds(30)

    init(_ name: String, _ logger: Logger) { (self.name, self.logger) = (name, logger) }

    /// - Parameters:
    ///   - exit: returns when the server has ended, at once where it does not run.
    ///   - restart: throws why the server does not come up, with its own last words.
    /// - Throws: ``DirectoryLost``: there is nothing to start any more.
    func keep(_ exit: @Sendable () async -> Void, _ restart: @Sendable () async throws -> Void) async throws {
        while true {
            await exit()
            try Task.checkCancellation()
            logger.error("\(name) has ended, starting it again")
            var backoff = Backoff(first: .milliseconds(200), longest: Self.longestPause)
            while true {
                do {
                    try await restart()
                    logger.notice("\(name) is back")
                    break
                } catch let error as DirectoryLost {
                    throw error
                } catch {
                    try Task.checkCancellation()
                    let pause = backoff.advance()
                    logger.error(
                        "\(name) does not start, trying again",
                        metadata: ["reason": "\(error)", "pause": "\(Int(pause / .milliseconds(1))) ms"])
                    try await Task.sleep(for: pause)
                }
            }
        }
    }
}
