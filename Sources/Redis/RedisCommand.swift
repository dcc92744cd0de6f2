package import Texts

/// What can stand as an argument of a command: bytes, or what has one spelling as bytes.
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

/// One command with its arguments, each of any bytes.
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

    /// Appends the command as the protocol spells it: an array of bulk strings.
    ///
    /// Written here and not by `redisAppendCommandArgv`, which would need an array of pointers into
    /// Swift arrays: the one place where a bridge to hiredis goes wrong quietly.
    func append(to bytes: inout [UInt8]) {
        bytes.append(UInt8(ascii: "*"))
        bytes.append(decimal: arguments.count)
        bytes += "\r\n".utf8
        for argument in arguments { bytes.append(bulk: argument) }
    }
}
