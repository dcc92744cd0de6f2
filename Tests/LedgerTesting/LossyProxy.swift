import Foundation

/// A TCP proxy on loopback between a subscriber and its Redis that acts like a bad network: it
/// drops, repeats and delays published messages (behind others, or by some milliseconds), and cuts
/// connections. All other traffic passes unchanged.
///
/// Each connection has its own thread, which ends with the connection.
package final class LossyProxy: Sendable {
    /// How often each fault happens, in thousandths of the messages.
    package struct Faults: Sendable {
        package var drop: UInt64 = 0
        package var duplicate: UInt64 = 0
        package var delay: UInt64 = 0
        package var cut: UInt64 = 0
        /// Faults happen only to messages whose channel has this suffix; to all if it is empty.
        package var channelSuffix = ""

        package init(
            drop: UInt64 = 0, duplicate: UInt64 = 0, delay: UInt64 = 0, cut: UInt64 = 0, channelSuffix: String = ""
        ) {
            (self.drop, self.duplicate, self.delay, self.cut) = (drop, duplicate, delay, cut)
            self.channelSuffix = channelSuffix
        }
    }

    /// The number of messages by what happened to them, and of cuts.
    package struct Counts: Sendable {
        package var passed = 0
        package var dropped = 0
        package var duplicated = 0
        package var delayed = 0
        package var cuts = 0
    }

    package let port: UInt16
    private let listener: Int32
    private let shared: Shared

    /// `@unchecked Sendable`: every access to the variables is inside `lock`.
    private final class Shared: @unchecked Sendable {
        private let lock = NSLock()
        private var random: SeededGenerator
        private var faults: Faults
        private var counts = Counts()

        init(_ seed: UInt64, _ faults: Faults) { (random, self.faults) = (SeededGenerator(seed: seed), faults) }

        enum Fate {
            case pass, drop, duplicate
            case delay(behind: Int)
            case cut
        }

        func fate(of message: ArraySlice<UInt8>) -> Fate {
            lock.withLock {
                guard
                    faults.channelSuffix.isEmpty
                        || Data(message).range(of: Data((faults.channelSuffix + "\r\n").utf8)) != nil
                else { return .pass }
                var dice = random.below(1000)
                func falls(_ share: UInt64) -> Bool {
                    defer { dice = dice >= share ? dice - share : dice }
                    return dice < share
                }
                if falls(faults.drop) {
                    counts.dropped += 1
                    return .drop
                } else if falls(faults.duplicate) {
                    counts.duplicated += 1
                    return .duplicate
                } else if falls(faults.delay) {
                    counts.delayed += 1
                    return .delay(behind: Int(random.below(20)))
                } else if falls(faults.cut) {
                    counts.cuts += 1
                    return .cut
                }
                counts.passed += 1
                return .pass
            }
        }

        func set(_ faults: Faults) { lock.withLock { self.faults = faults } }
        var count: Counts { lock.withLock { counts } }
    }

    /// - Parameter target: the port on 127.0.0.1 of the server.
    package init(target: UInt16, seed: UInt64, _ faults: Faults = Faults()) throws {
        (listener, port) = try Sockets.listen()
        shared = Shared(seed, faults)
        Sockets.proxy(
            listener, connecting: { Sockets.connect(to: target) },
            forwarding: { [shared] in Self.forward($0, $1, shared) })
    }

    package func stop() { shutdown(listener, Int32(SHUT_RDWR)) }
    package func set(_ faults: Faults) { shared.set(faults) }
    package var counts: Counts { shared.count }

    private static func forward(_ client: Int32, _ server: Int32, _ shared: Shared) {
        var received: [UInt8] = []
        /// The delayed messages, each with the number of messages that still go before it.
        var held: [(message: [UInt8], behind: Int)] = []
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        while true {
            var descriptors = [
                pollfd(fd: client, events: Int16(POLLIN), revents: 0),
                pollfd(fd: server, events: Int16(POLLIN), revents: 0),
            ]
            let count = poll(&descriptors, 2, held.isEmpty ? 60_000 : 20)
            guard count >= 0 else { return }
            if count == 0 {
                // No message came that the delayed ones could follow, so they are sent now.
                for (message, _) in held where !Sockets.forward(message[...], to: client) { return }
                held = []
            }
            if descriptors[0].revents != 0 {
                let count = read(client, &buffer, buffer.count)
                guard count > 0, Sockets.forward(buffer[..<count], to: server) else { return }
            }
            if descriptors[1].revents != 0 {
                let count = read(server, &buffer, buffer.count)
                guard count > 0 else { return }
                received += buffer[..<count]
                guard let out = sift(&received, &held, shared), Sockets.forward(out[...], to: client) else { return }
            }
        }
    }

    /// Takes the complete messages from `received`, and returns the bytes to forward now; `nil` to
    /// cut the connection.
    private static func sift(
        _ received: inout [UInt8], _ held: inout [(message: [UInt8], behind: Int)], _ shared: Shared
    ) -> [UInt8]? {
        var out: [UInt8] = []
        var start = 0
        while let end = RESP.end(of: received, from: start) {
            let message = received[start..<end]
            start = end
            guard RESP.isPublished(message) else {
                out += message
                continue
            }
            switch shared.fate(of: message) {
            case .pass: out += message
            case .drop: break
            case .duplicate:
                out += message
                out += message
            case .delay(let behind): held.append((Array(message), behind))
            case .cut: return nil
            }
            for index in held.indices.reversed() {
                held[index].behind -= 1
                if held[index].behind < 0 { out += held.remove(at: index).message }
            }
        }
        received.removeFirst(start)
        return out
    }
}

/// The part of Redis's protocol that is needed to find the end of a reply.
private enum RESP {
    /// The end of the value that begins at `start`; `nil` if it is incomplete.
    static func end(of bytes: [UInt8], from start: Int) -> Int? {
        guard start < bytes.count, let line = bytes[start...].firstIndex(of: 0x0A) else { return nil }
        let number = Int(String(decoding: bytes[(start + 1)..<(line - 1)], as: UTF8.self))
        var place = line + 1
        switch bytes[start] {
        case UInt8(ascii: "$"):
            if let number, number >= 0 { place += number + 2 }
            return place <= bytes.count ? place : nil
        case UInt8(ascii: "*"):
            for _ in 0..<max(0, number ?? 0) {
                guard let end = end(of: bytes, from: place) else { return nil }
                place = end
            }
            return place
        default: return place
        }
    }

    static func isPublished(_ value: ArraySlice<UInt8>) -> Bool {
        value.starts(with: "*3\r\n$7\r\nmessage\r\n".utf8) || value.starts(with: "*4\r\n$8\r\npmessage\r\n".utf8)
    }
}
