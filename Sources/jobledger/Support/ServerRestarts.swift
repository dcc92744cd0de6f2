import BlockingIO
import EmbeddedServices
import Logging

/// Starts a private server again when it ends while `up` runs. It tries without limit, because the
/// cause, a full disk for example, may last. Meanwhile the other services run on and report that
/// the server is unavailable.
struct ServerRestarts: Sendable {
    let name: String
    let logger: Logger
    /// The longest pause between two attempts.
    private static let longestPause = Duration.seconds(30)

    init(_ name: String, _ logger: Logger) { (self.name, self.logger) = (name, logger) }

    /// Runs until the task is cancelled.
    /// - Parameters:
    ///   - exit: returns when the server has ended; at once if it is not running.
    ///   - restart: throws if the server does not start; the error has the end of its log.
    /// - Throws: ``DirectoryLost`` if the server's directory is gone, so that it cannot be started.
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
