import Foundation
import PrivateFiles

/// The directory of a service, owned by the user it runs as and closed to others.
///
/// That user can put anything in the place of what is in it, so we, who may be root, go by the
/// directory's descriptor and follow no link.
struct ServiceDirectory: Sendable {
    let handle: DirectoryHandle
    let user: ServiceUser

    /// Makes the directory when it is missing.
    init(_ url: URL, user: ServiceUser) throws {
        handle = try DirectoryHandle.makePrivate(url.path(percentEncoded: false), for: user.owner)
        self.user = user
    }

    /// The path of a file in the directory; of the directory itself for an empty name. Absolute and
    /// without links: children run in `/` and their command lines are compared.
    func path(_ name: String) -> String { name.isEmpty ? handle.path : handle.path(name) }

    /// Writes a file that only the service and root can read, whole or not at all.
    func write(_ text: String, to name: String) throws { try handle.write(text, to: name, for: user.owner) }

    /// The text of a file; `nil` where there is none.
    func read(_ name: String) throws -> String? { try handle.read(name) }

    /// Makes a directory of the service's own.
    func makeDirectory(_ name: String) throws { try handle.makeDirectory(name, for: user.owner) }

    /// Makes the log, so that it is the service's whoever writes to it first, and empties one
    /// beyond 10 MiB.
    func prepareLog(_ name: String) throws { try handle.prepareLog(name, for: user.owner, limit: 10 << 20) }

    /// The end of a log, for an error message.
    func lastLines(of name: String, count: Int = 12) -> String {
        handle.end(of: name, bytes: 8192).split(separator: "\n").suffix(count).joined(separator: "\n")
    }

    /// What a server that cannot start may be unable to say in its log: that there is no room.
    var diskNote: String {
        var status = statvfs()
        guard statvfs(path(""), &status) == 0, UInt64(status.f_bavail) * UInt64(status.f_frsize) < 1 << 20 else {
            return ""
        }
        return " The disk of \(path("")) is full."
    }

    /// 192 random bits as text that needs no escaping anywhere.
    static func makePassword() -> String {
        // SystemRandomNumberGenerator is getrandom(2) on Linux, made for keys.
        (0..<3).map { _ in
            let digits = String(UInt64.random(in: .min ... .max), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
