import Foundation

/// A server on loopback that takes connections and never says anything.
package final class SilentServer: Sendable {
    package let port: UInt16
    private let listener: Int32

    package init() throws { (listener, port) = try Sockets.listen() }

    /// Hangs up on all who have connected. Call it once.
    package func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }
}
