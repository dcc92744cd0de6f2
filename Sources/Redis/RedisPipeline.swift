/// Commands that are encoded already, one after the other in one buffer.
///
/// For many small commands, such as a relay's: it avoids the arrays of an array of
/// ``RedisCommand``s. It is sent as a whole, so its size is what is in flight; keep it to about 1
/// MiB.
package struct RedisPipeline: Sendable {
    /// How many commands there are.
    package private(set) var count = 0
    private(set) var bytes: [UInt8] = []

    package init() {}

    /// The size of all commands, in bytes.
    package var size: Int { bytes.count }

    package mutating func reserveCapacity(_ size: Int) { bytes.reserveCapacity(size) }

    package mutating func append(_ command: RedisCommand) {
        command.append(to: &bytes)
        count += 1
    }

    /// Appends `PUBLISH channel message`.
    package mutating func publish(_ message: [UInt8], to channel: [UInt8]) {
        bytes += "*3\r\n$7\r\nPUBLISH\r\n".utf8
        bytes.append(bulk: channel)
        bytes.append(bulk: message)
        count += 1
    }
}

extension [UInt8] {
    /// Appends a bulk string in the protocol's form.
    mutating func append(bulk value: [UInt8]) {
        append(UInt8(ascii: "$"))
        append(decimal: value.count)
        self += "\r\n".utf8
        self += value
        self += "\r\n".utf8
    }

    /// - Parameter number: not negative.
    mutating func append(decimal number: Int) {
        if number >= 10 { append(decimal: number / 10) }
        append(UInt8(ascii: "0") + UInt8(number % 10))
    }
}
