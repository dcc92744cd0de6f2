import Glibc

/// Why a file or a directory cannot be used, in words for whoever named it.
package struct FileFailure: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) { self.description = description }

    /// With the reason of the system call that failed right before.
    static func system(_ what: String, _ code: Int32 = errno) -> FileFailure {
        FileFailure("\(what): \(String(cString: strerror(code)))")
    }
}
