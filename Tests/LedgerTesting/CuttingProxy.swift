import Foundation

/// A TCP proxy on loopback that can lose a server's answer: the request arrives and takes effect,
/// the reply does not come back.
///
/// Each connection has a thread of its own, which ends with the connection; all end with the
/// process.
package final class CuttingProxy: Sendable {
    package let port: UInt16
    private let target: UInt16
    private let listener: Int32
    private let state = Armed()

    /// What the threads share.
    ///
    /// `@unchecked Sendable`: every access to `word`, `cuts` and `longest` is inside `lock`.
    private final class Armed: @unchecked Sendable {
        private let lock = NSLock()
        private var word: [UInt8]?
        private var cuts = 0
        private var longest: Int?

        var longestAnswer: Int? {
            get { lock.withLock { longest } }
            set { lock.withLock { longest = newValue } }
        }

        /// How much of `count` more bytes may pass on a connection that has had `passed`.
        func room(_ count: Int, behind passed: Int) -> Int {
            lock.withLock {
                guard let longest, passed + count > longest else { return count }
                cuts += 1
                return max(0, longest - passed)
            }
        }

        func arm(_ word: [UInt8]) { lock.withLock { self.word = word } }
        var count: Int { lock.withLock { cuts } }

        /// Whether a request with these bytes is the one to cut; it is, once.
        func fires(on request: ArraySlice<UInt8>) -> Bool {
            lock.withLock {
                guard let word, Data(request).range(of: Data(word)) != nil else { return false }
                self.word = nil
                cuts += 1
                return true
            }
        }
    }

    /// - Parameter target: the port on 127.0.0.1 to which everything goes.
    package init(target: UInt16) throws {
        self.target = target
        (listener, port) = try Sockets.listen()
        let (listener, state) = (listener, state)
        Thread.detachNewThread {
            while true {
                let client = accept(listener, nil, nil)
                if client < 0 { return }
                Thread.detachNewThread { Self.serve(client, target, state) }
            }
        }
    }

    package func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    /// The next request that contains `word` reaches the server, but its answer is dropped and the
    /// connection cut.
    package func loseAnswer(toRequestWith word: String) { state.arm(Array(word.utf8)) }

    /// From now on each connection breaks when the server has sent so many bytes on it, wherever
    /// that is; `nil` for never.
    package func breakConnections(after bytes: Int?) { state.longestAnswer = bytes }

    /// How many answers were lost.
    package var lost: Int { state.count }

    private static func serve(_ client: Int32, _ target: UInt16, _ state: Armed) {
        guard let server = Sockets.connect(to: target) else {
            close(client)
            return
        }
        defer {
            close(client)
            close(server)
        }
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
                // The server has answered, so what was asked has happened: now the connection
                // breaks.
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
