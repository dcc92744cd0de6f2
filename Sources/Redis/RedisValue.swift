/// A reply of the server.
package enum RedisValue: Sendable, Equatable {
    /// A status such as `OK`.
    case simpleString(String)
    /// An error of one command; the connection stays usable.
    case error(String)
    case integer(Int64)
    case bulk([UInt8])
    case array([RedisValue])
    /// A missing value: the null bulk string or the null array.
    case null

    /// The bytes of a bulk or simple string; `nil` for anything else.
    package var bytes: [UInt8]? {
        switch self {
        case .bulk(let bytes): bytes
        case .simpleString(let text): Array(text.utf8)
        default: nil
        }
    }

    /// The text of a bulk or simple string, with bytes that are not UTF-8 replaced; `nil` for
    /// anything else.
    package var string: String? {
        switch self {
        case .bulk(let bytes): String(decoding: bytes, as: UTF8.self)
        case .simpleString(let text): text
        default: nil
        }
    }

    package var integer: Int64? {
        if case .integer(let number) = self { number } else { nil }
    }

    package var array: [RedisValue]? {
        if case .array(let values) = self { values } else { nil }
    }

    /// The value itself; a server error is thrown.
    package func get() throws(RedisError) -> RedisValue {
        if case .error(let message) = self { throw RedisError(.server, message) }
        return self
    }
}
