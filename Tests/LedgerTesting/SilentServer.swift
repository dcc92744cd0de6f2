import Foundation

/// A server on loopback that takes connections and never says anything.
package final class SilentServer: Sendable {
    package let port: UInt16
    private let listener: Int32

    package init() throws { (listener, port) = try Sockets.listen() }

    /// Whether somebody has connected.
    package var isAsked: Bool {
        var descriptor = pollfd(fd: listener, events: Int16(POLLIN), revents: 0)
        return poll(&descriptor, 1, 0) == 1
    }

    /// Hangs up on all who have connected. Call it once.
    package func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }
}
