import Glibc

/// Why a private service could not be started or stopped, in words for whoever typed the command.
public struct EmbeddedServiceError: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    public init(_ description: String) { self.description = description }

    static func system(_ what: String, _ code: Int32) -> EmbeddedServiceError {
        EmbeddedServiceError("\(what): \(String(cString: strerror(code)))")
    }
}
