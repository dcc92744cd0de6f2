import Foundation
import PrivateFiles

/// The directory of a service, owned by the user that the service runs as and closed to others.
///
/// That user can replace any entry of the directory. This process may be root, so it uses the
/// descriptor of the directory and follows no link.
struct ServiceDirectory: Sendable {
    let handle: DirectoryHandle
    let user: ServiceUser

    /// Opens the directory, and makes it if needed.
    init(_ url: URL, user: ServiceUser) throws {
        handle = try DirectoryHandle.makePrivate(url.path(percentEncoded: false), for: user.owner)
        self.user = user
    }

    /// The path of a file in the directory, or of the directory itself for an empty name. It is
    /// absolute and has no links, because children run in `/` and are found by their command lines.
    func path(_ name: String) -> String { name.isEmpty ? handle.path : handle.path(name) }

    /// Writes a file that only the service's user and root can read, completely or not at all.
    func write(_ text: String, to name: String) throws { try handle.write(text, to: name, for: user.owner) }

    /// The text of a file; `nil` if it does not exist.
    func read(_ name: String) throws -> String? { try handle.read(name) }

    /// Makes a directory that belongs to the service's user.
    func makeDirectory(_ name: String) throws { try handle.makeDirectory(name, for: user.owner) }

    /// Makes the log, so that it belongs to the service's user, and empties it if it is larger than
    /// 10 MiB.
    func prepareLog(_ name: String) throws { try handle.prepareLog(name, for: user.owner, limit: 10 << 20) }

    /// The end of a log, for an error message.
    func lastLines(of name: String, count: Int = 12) -> String {
        handle.end(of: name, bytes: 8192).split(separator: "\n").suffix(count).joined(separator: "\n")
    }

    /// An error that says why a server did not start, with the end of its log.
    func startFailure(_ what: String, log: String) -> EmbeddedServiceError {
        EmbeddedServiceError("\(what).\(diskNote) The end of \(path(log)):\n\(lastLines(of: log))")
    }

    /// A note that the disk is full, which a server cannot write to its log; otherwise empty.
    private var diskNote: String {
        var status = statvfs()
        guard statvfs(path(""), &status) == 0, UInt64(status.f_bavail) * UInt64(status.f_frsize) < 1 << 20 else {
            return ""
        }
        return " The disk of \(path("")) is full."
    }

    /// A password of 192 random bits, as hexadecimal digits, which need no escaping anywhere.
    static func makePassword() -> String {
        // On Linux, random(in:) uses getrandom(2), which is fit for keys.
        (0..<3).map { _ in
            let digits = String(UInt64.random(in: .min ... .max), radix: 16)
            return String(repeating: "0", count: 16 - digits.count) + digits
        }.joined()
    }
}
