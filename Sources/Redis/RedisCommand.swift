package import Texts

/// A value that can be an argument of a command: bytes, or a value with one spelling in bytes.
package protocol RedisArgument: Sendable {
    var redisBytes: [UInt8] { get }
}

extension String: RedisArgument {
    package var redisBytes: [UInt8] { Array(utf8) }
}

extension ExactText: RedisArgument {
    package var redisBytes: [UInt8] { Array(utf8) }
}

extension Array: RedisArgument where Element == UInt8 {
    package var redisBytes: [UInt8] { self }
}

extension Int: RedisArgument {
    package var redisBytes: [UInt8] { Array(String(self).utf8) }
}

extension Int64: RedisArgument {
    package var redisBytes: [UInt8] { Array(String(self).utf8) }
}

/// One command with its arguments, which may have any bytes.
package struct RedisCommand: Sendable, Equatable {
    package let arguments: [[UInt8]]

    /// - Parameter arguments: the name of the command and what follows it, at least one.
    package init(_ arguments: any RedisArgument...) {
        self.init(arguments: arguments.map(\.redisBytes))
    }

    package init(arguments: [[UInt8]]) {
        precondition(!arguments.isEmpty, "a Redis command has a name")
        self.arguments = arguments
    }

    /// Appends the command in the protocol's form: an array of bulk strings.
    ///
    /// hiredis's `redisAppendCommandArgv` is not used, because it needs an array of pointers into
    /// Swift arrays, where a mistake would corrupt memory silently.
    func append(to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "*"))
        bytes.append(decimal: arguments.count)
        bytes += "\r\n".utf8
        for argument in arguments { bytes.append(bulk: argument) }
    }
}
