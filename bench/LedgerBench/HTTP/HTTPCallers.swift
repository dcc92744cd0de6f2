import BlockingIO
import Foundation
import LedgerCore

/// Appends events over HTTP, one after the other on each connection.
actor HTTPCallers {
    private let executor = BlockingExecutor(label: "http-callers")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    private let sockets: HTTPSockets
    private let heads: [[UInt8]]
    private var sent = 0

    /// - Parameter jobs: one per connection; they must exist.
    init(_ service: BenchService, jobs: [JobID]) throws {
        sockets = try HTTPSockets(port: service.port, count: jobs.count)
        heads = jobs.map { job in
            let head = """
                POST /v1/jobs/\(job)/events HTTP/1.1\r\n\
                Host: 127.0.0.1\r\nAuthorization: Bearer \(service.token)\r\n\
                Content-Type: application/json\r\n
                """
            return Array((head + "Content-Length: ").utf8)
        }
    }

    private func ask(_ number: Int, _ event: Int) throws {
        let body = Array("{\"type\":\"progress\",\"data\":\(Filler.progress(event))}".utf8)
        try sockets.send(heads[number] + Array("\(body.count)\r\n\r\n".utf8) + body, on: number)
    }

    /// Sends the next event on each connection as soon as the last is answered, until `deadline`.
    /// - Returns: how many events were appended.
    func run(until deadline: ContinuousClock.Instant) throws -> Int {
        var (open, count) = (sockets.count, 0)
        for number in 0..<sockets.count {
            sent += 1
            try ask(number, sent)
        }
        while open > 0 {
            try sockets.receive(milliseconds: 1000) { number, buffer in
                guard try Self.takeAnswer(&buffer) else { return }
                count += 1
                if ContinuousClock.now < deadline {
                    sent += 1
                    try ask(number, sent)
                } else {
                    open -= 1
                }
            }
        }
        return count
    }

    /// Sends `numbers`, one per interval, on any free connection. Returns when each was answered,
    /// by the monotonic clock.
    func run(_ numbers: ClosedRange<Int>, every pause: Duration) throws -> [Int: UInt64] {
        var free = Array(0..<sockets.count)
        var underWay: [Int: Int] = [:]
        var answered: [Int: UInt64] = [:]
        let start = ContinuousClock.now
        var next = numbers.lowerBound
        while answered.count < numbers.count {
            while next <= numbers.upperBound, !free.isEmpty,
                start.advanced(by: pause * (next - numbers.lowerBound)) <= .now
            {
                let number = free.removeLast()
                underWay[number] = next
                try ask(number, next)
                next += 1
            }
            // This wait makes an event late by a millisecond at most.
            try sockets.receive(milliseconds: 1) { number, buffer in
                guard try Self.takeAnswer(&buffer), let event = underWay.removeValue(forKey: number) else { return }
                answered[event] = monotonicNanoseconds()
                free.append(number)
            }
        }
        return answered
    }

    /// Removes one complete response from the buffer; false if there is none.
    private static func takeAnswer(_ buffer: inout [UInt8]) throws -> Bool {
        guard let end = buffer.place(behind: blankLine) else { return false }
        guard buffer.starts(with: created), let start = buffer.place(behind: lengthName) else {
            throw BenchFailure("not appended: \(String(decoding: buffer, as: UTF8.self))")
        }
        let length = buffer[start...].prefix { (0x30...0x39).contains($0) }.reduce(0) { $0 * 10 + Int($1 - 0x30) }
        guard buffer.count >= end + length else { return false }
        buffer.removeSubrange(..<(end + length))
        return true
    }

    private static let blankLine = Array("\r\n\r\n".utf8)
    private static let created = Array("HTTP/1.1 201 ".utf8)
    private static let lengthName = Array("Content-Length: ".utf8)
}

extension [UInt8] {
    /// The index after the first occurrence of `bytes`. It uses C's search and comparison, because
    /// it runs for every response.
    func place(behind bytes: [UInt8]) -> Int? {
        // The bytes are valid within the closure, which does not keep them.
        withUnsafeBytes { all in
            bytes.withUnsafeBytes { bytes in
                guard let base = all.baseAddress, let wanted = bytes.baseAddress else { return nil }
                var start = 0
                while start + bytes.count <= all.count,
                    let found = memchr(base + start, Int32(bytes[0]), all.count - start - bytes.count + 1)
                {
                    if memcmp(found, wanted, bytes.count) == 0 { return UnsafeRawPointer(found) - base + bytes.count }
                    start = UnsafeRawPointer(found) - base + 1
                }
                return nil
            }
        }
    }
}
