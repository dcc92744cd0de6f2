import Glibc

/// Why a file or a directory cannot be used. The description is meant for users.
package struct FileFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }

    /// A failure with the reason of the system call that just failed.
    static func system(_ what: String, _ code: Int32 = errno) -> FileFailure {
        FileFailure("\(what): \(String(cString: strerror(code)))")
    }
}
