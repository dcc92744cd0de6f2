import BlockingIO
import Foundation

/// A TCP proxy on loopback that can lose an answer: the request reaches the server and takes
/// effect, but the reply does not come back. It can also lead new connections to another server,
/// as a load balancer does after a switchover, and leave the old ones as they are.
///
/// Each connection has its own thread, which ends with the connection.
package final class CuttingProxy: Sendable {
    package let port: UInt16
    private let listener: Int32
    private let state = Shared()
    private let socket: Locked<String>

    /// The state that the threads share.
    ///
    /// `@unchecked Sendable`: every access to `word`, `cuts` and `longest` is inside `lock`.
    private final class Shared: @unchecked Sendable {
        private let lock = NSLock()
        private var word: [UInt8]?
        private var cuts = 0
        private var longest: Int?

        var longestAnswer: Int? {
            get { lock.withLock { longest } }
            set { lock.withLock { longest = newValue } }
        }

        /// How many of the next `count` bytes may pass on a connection that has passed `passed`
        /// bytes.
        func room(_ count: Int, behind passed: Int) -> Int {
            lock.withLock {
                guard let longest, passed + count > longest else { return count }
                cuts += 1
                return max(0, longest - passed)
            }
        }

        func arm(_ word: [UInt8]) { lock.withLock { self.word = word } }
        var count: Int { lock.withLock { cuts } }

        /// Whether this is the request whose answer is to be lost. True only once.
        func fires(on request: ArraySlice<UInt8>) -> Bool {
            lock.withLock {
                guard let word, Data(request).range(of: Data(word)) != nil else { return false }
                self.word = nil
                cuts += 1
                return true
            }
        }
    }

    /// - Parameter target: the port on 127.0.0.1 of the server.
    package init(target: UInt16) throws {
        (listener, port) = try Sockets.listen()
        socket = Locked("")
        Sockets.proxy(
            listener, connecting: { Sockets.connect(to: target) },
            forwarding: { [state] in Self.forward($0, $1, state) })
    }

    /// - Parameter url: an address of Postgres with the folder of a Unix socket as its host.
    package init(before url: String) throws {
        (listener, port) = try Sockets.listen()
        socket = Locked(Self.socket(of: url))
        Sockets.proxy(
            listener, connecting: { [socket = self.socket] in Sockets.connect(toSocket: socket.withLock { $0 }) },
            forwarding: { [state] in Self.forward($0, $1, state) })
    }

    /// Leads new connections to the Unix socket of another server.
    package func lead(to url: String) { socket.withLock { $0 = Self.socket(of: url) } }

    /// The address of the proxy, with the user and database of `url`.
    package func address(insteadOf url: String) -> String {
        var parts = URLComponents(string: url)!
        (parts.host, parts.port) = ("127.0.0.1", Int(port))
        parts.queryItems = parts.queryItems?.filter { !["host", "port"].contains($0.name) }
        return parts.string!
    }

    private static func socket(of url: String) -> String {
        let folder = URLComponents(string: url)?.queryItems?.first { $0.name == "host" }?.value
        return folder! + "/.s.PGSQL.5432"
    }

    package func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    /// Loses the answer to the next request that contains `word`: the request reaches the server,
    /// the answer is dropped, and the connection is cut.
    package func loseAnswer(toRequestWith word: String) { state.arm(Array(word.utf8)) }

    /// From now on, cuts each connection after this many bytes from the server; `nil` cuts none.
    package func breakConnections(after bytes: Int?) { state.longestAnswer = bytes }

    /// How many answers were lost.
    package var lost: Int { state.count }

    private static func forward(_ client: Int32, _ server: Int32, _ state: Shared) {
        var isCutting = false
        var passed = 0
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            var descriptors = [
                pollfd(fd: client, events: Int16(POLLIN), revents: 0),
                pollfd(fd: server, events: Int16(POLLIN), revents: 0),
            ]
            guard poll(&descriptors, 2, 60_000) > 0 else { return }
            if descriptors[1].revents != 0 {
                let count = read(server, &buffer, buffer.count)
                // The server has answered, so the request has taken effect. Now cut the connection.
                guard count > 0, !isCutting else { return }
                let room = state.room(count, behind: passed)
                guard Sockets.forward(buffer[..<room], to: client), room == count else { return }
                passed += count
            }
            if descriptors[0].revents != 0 {
                let count = read(client, &buffer, buffer.count)
                guard count > 0 else { return }
                if state.fires(on: buffer[..<count]) { isCutting = true }
                guard Sockets.forward(buffer[..<count], to: server) else { return }
            }
        }
    }
}
