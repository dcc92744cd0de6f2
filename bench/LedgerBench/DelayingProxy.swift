import Foundation

/// A TCP proxy on loopback that lets bytes through a fixed time after they came, in both
/// directions, like a long cable: it delays and does not slow down.
///
/// It has two threads for a direction of a connection, which end with the connection.
final class DelayingProxy: Sendable {
    let port: UInt16
    private let listener: Int32

    /// - Parameters:
    ///   - target: the port on 127.0.0.1 of the server.
    ///   - delay: in each direction; a round trip takes twice as long.
    init(target: UInt16, delay: Duration) throws {
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
        var address = Self.loopback(port: 0)
        let isListening = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { address in
                var length = socklen_t(MemoryLayout<sockaddr_in>.size)
                return bind(listener, address, length) == 0 && listen(listener, 16) == 0
                    && getsockname(listener, address, &length) == 0
            }
        }
        guard isListening else { throw BenchFailure("no proxy: \(String(cString: strerror(errno)))") }
        (self.listener, port) = (listener, UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread {
            while case let client = accept(listener, nil, nil), client >= 0 {
                let server = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
                var address = Self.loopback(port: target)
                let isConnected = withUnsafePointer(to: &address) {
                    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                        connect(server, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) == 0
                    }
                }
                guard isConnected else {
                    close(client)
                    close(server)
                    continue
                }
                var yes: Int32 = 1
                for end in [client, server] {
                    setsockopt(end, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
                }
                Self.carry(from: client, to: server, delay)
                Self.carry(from: server, to: client, delay)
            }
        }
    }

    func stop() {
        shutdown(listener, Int32(SHUT_RDWR))
        close(listener)
    }

    /// Bytes on their way, with the time at which they arrive.
    private static func carry(from source: Int32, to target: Int32, _ delay: Duration) {
        let way = Way()
        Thread.detachNewThread {
            var buffer = [UInt8](repeating: 0, count: 256 << 10)
            while case let count = read(source, &buffer, buffer.count), count > 0 {
                way.put(buffer[..<count], at: .now + delay)
            }
            way.put([], at: .now)
        }
        Thread.detachNewThread {
            while let (bytes, arrival) = way.take() {
                let wait = ContinuousClock.now.duration(to: arrival)
                if wait > .zero { usleep(UInt32(wait / .microseconds(1))) }
                var rest = bytes
                while !rest.isEmpty {
                    let count = rest.withUnsafeBytes { write(target, $0.baseAddress, $0.count) }
                    guard count > 0 else { break }
                    rest = rest.dropFirst(count)
                }
            }
            for end in [source, target] { shutdown(end, Int32(SHUT_RDWR)) }
        }
    }

    /// A queue between the two threads of a direction.
    ///
    /// `@unchecked Sendable`: `chunks` is only used while `condition` is locked.
    private final class Way: @unchecked Sendable {
        private let condition = NSCondition()
        private var chunks: [(bytes: ArraySlice<UInt8>, arrival: ContinuousClock.Instant)] = []

        func put(_ bytes: ArraySlice<UInt8>, at arrival: ContinuousClock.Instant) {
            condition.withLock {
                chunks.append((bytes, arrival))
                condition.signal()
            }
        }

        /// The next bytes; `nil` after the last.
        func take() -> (ArraySlice<UInt8>, ContinuousClock.Instant)? {
            condition.withLock {
                while chunks.isEmpty { condition.wait() }
                let next = chunks.removeFirst()
                return next.bytes.isEmpty ? nil : next
            }
        }
    }

    private static func loopback(port: UInt16) -> sockaddr_in {
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(INADDR_LOOPBACK).bigEndian
        return address
    }
}
