import BlockingIO
import Foundation

/// Reads event streams. Each follows one job, and checks that its events arrive once and in order.
actor HTTPFollowers {
    private let executor = BlockingExecutor(label: "http-followers")
    nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    /// When each event arrived, by the number in its `completed`.
    private(set) var seen: [Int: UInt64] = [:]
    private(set) var received = 0
    private let sockets: HTTPSockets
    private var versions: [Int]
    private var hasBegun: [Bool]
    private let recordsTimes: Bool

    /// - Parameters:
    ///   - paths: the paths of the streams, one per connection.
    ///   - recordsTimes: whether to record the times of arrival.
    init(_ service: BenchService, paths: [String], recordsTimes: Bool) throws {
        self.recordsTimes = recordsTimes
        sockets = try HTTPSockets(port: service.port, count: paths.count)
        versions = Array(repeating: 0, count: paths.count)
        hasBegun = Array(repeating: false, count: paths.count)
        for (number, path) in paths.enumerated() {
            try sockets.send(
                Array(
                    """
                    GET \(path) HTTP/1.1\r\n\
                    Host: 127.0.0.1\r\nAuthorization: Bearer \(service.token)\r\n\
                    Accept: text/event-stream\r\n\r\n
                    """
                    .utf8), on: number)
        }
    }

    /// Reads until every stream has started.
    func begin() throws {
        while hasBegun.contains(false) { try read() }
    }

    /// Reads until `goal` events have arrived, or nothing more arrives for `timeout`.
    func read(until goal: Int, timeout: Duration) throws {
        var last = (received, ContinuousClock.now)
        while received < goal {
            try read()
            if received != last.0 { last = (received, .now) }
            guard last.1.duration(to: .now) < timeout else {
                throw BenchFailure("\(received) of \(goal) events arrived")
            }
        }
    }

    private func read() throws {
        try sockets.receive(milliseconds: 100) { number, buffer in
            let now = monotonicNanoseconds()
            // Only complete lines are read, so an event is never read in part.
            var start = buffer.startIndex
            while let end = buffer[start...].firstIndex(of: 0x0A) {
                try take(buffer[start..<end], of: number, at: now)
                start = end + 1
            }
            buffer.removeSubrange(..<start)
        }
    }

    private func take(_ line: ArraySlice<UInt8>, of number: Int, at now: UInt64) throws {
        if line.starts(with: Self.data) {
            received += 1
            if recordsTimes, let event = Self.number(behind: Self.completed, in: line) { seen[event] = now }
            guard let version = Self.number(behind: Self.version, in: line),
                version == versions[number] + 1 || recordsTimes
            else {
                throw BenchFailure(
                    """
                    stream \(number): after version \(versions[number]) came \
                    \(String(decoding: line, as: UTF8.self).prefix(400))
                    """)
            }
            versions[number] = version
        } else if line.starts(with: Self.retry) {
            hasBegun[number] = true
        } else if line.starts(with: Self.status), !line.starts(with: Array("HTTP/1.1 200".utf8)) {
            throw BenchFailure("stream \(number): \(String(decoding: line, as: UTF8.self))")
        }
    }

    private static let data = Array("data: ".utf8)
    private static let retry = Array("retry: ".utf8)
    private static let status = Array("HTTP/1.1 ".utf8)
    private static let completed = Array(#""completed": "#.utf8)
    private static let version = Array(#""streamversion":"#.utf8)

    private static func number(behind name: [UInt8], in line: ArraySlice<UInt8>) -> Int? {
        guard let start = line.firstRange(of: name)?.upperBound else { return nil }
        return Int(String(decoding: line[start...].prefix { (0x30...0x39).contains($0) }, as: UTF8.self))
    }
}
