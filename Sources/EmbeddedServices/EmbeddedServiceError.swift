import Glibc

/// Why a private service could not be started or stopped. The description is meant for users.
package struct EmbeddedServiceError: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }

    static func system(_ what: String, _ code: Int32) -> EmbeddedServiceError {
        EmbeddedServiceError("\(what): \(String(cString: strerror(code)))")
    }
}
