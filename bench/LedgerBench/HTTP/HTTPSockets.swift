import Foundation

/// Keep-alive connections to an HTTP service, all served by the calling thread: a client for the
/// HTTP rows that costs as little as possible.
///
/// Not `Sendable`: it belongs to the actor that made it.
final class HTTPSockets {
    let count: Int
    private var descriptors: [Int32] = []
    private var waiting: [pollfd] = []
    private var buffers: [[UInt8]]
    private var chunk: [UInt8]

    init(port: Int, count: Int) throws {
        self.count = count
        chunk = Array(repeating: 0, count: 64 << 10)
        buffers = Array(repeating: [], count: count)
        for _ in 0..<count {
            let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
            guard descriptor >= 0 else { throw BenchFailure("socket: \(errno)") }
            descriptors.append(descriptor)
            waiting.append(pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0))
            var address = sockaddr_in()
            address.sin_family = sa_family_t(AF_INET)
            address.sin_port = UInt16(port).bigEndian
            address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
            // connect(2) takes a sockaddr_in as a sockaddr. The pointer is valid for this call.
            let connected = withUnsafePointer(to: &address) {
                $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                }
            }
            guard connected == 0 else { throw BenchFailure("connect: \(errno)") }
            var yes: Int32 = 1
            setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &yes, socklen_t(MemoryLayout<Int32>.size))
        }
    }

    deinit {
        for descriptor in descriptors { close(descriptor) }
    }

    func send(_ bytes: [UInt8], on number: Int) throws {
        var rest = bytes[...]
        while !rest.isEmpty {
            let sent = rest.withUnsafeBytes {
                Glibc.send(descriptors[number], $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard sent > 0 else { throw BenchFailure("send: \(errno)") }
            rest = rest.dropFirst(sent)
        }
    }

    /// Waits up to `milliseconds` for bytes, and calls `body` for each connection that has some,
    /// with all bytes that it has not consumed yet.
    func receive(milliseconds: Int32, _ body: (_ number: Int, _ buffer: inout [UInt8]) throws -> Void) throws {
        let ready = poll(&waiting, nfds_t(count), milliseconds)
        guard ready >= 0 || errno == EINTR else { throw BenchFailure("poll: \(errno)") }
        for number in 0..<count where waiting[number].revents != 0 {
            let read = recv(descriptors[number], &chunk, chunk.count, 0)
            guard read > 0 else { throw BenchFailure("connection \(number) was closed by the service (\(errno))") }
            buffers[number] += chunk[..<read]
            try body(number, &buffers[number])
        }
    }
}
