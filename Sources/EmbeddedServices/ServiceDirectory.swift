import Foundation

/// The directory of a service, owned by the user it runs as and closed to others.
struct ServiceDirectory: Sendable {
    let url: URL
    let user: ServiceUser

    /// Makes the directory when it is missing.
    init(_ url: URL, user: ServiceUser) throws {
        // Without links, and absolute: children run in `/` and their command lines are compared.
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        self.url = url.absoluteURL.resolvingSymlinksInPath().standardizedFileURL
        self.user = user
        try give("", mode: 0o700)
    }

    /// The path of a file in the directory; of the directory itself for an empty name.
    func path(_ name: String) -> String {
        let path = url.path(percentEncoded: false)
        let base = path.count > 1 && path.hasSuffix("/") ? String(path.dropLast()) : path
        return name.isEmpty ? base : "\(base)/\(name)"
    }

    func file(_ name: String) -> URL { URL(filePath: path(name)) }

    /// Makes `name` the service's own.
    func give(_ name: String, mode: mode_t) throws {
        let path = path(name)
        guard chmod(path, mode) == 0, geteuid() != 0 || lchown(path, user.uid, user.gid) == 0 else {
            throw EmbeddedServiceError.system("cannot give \(path) to user id \(user.uid)", errno)
        }
    }

    /// Writes a file that only the service and root can read, whole or not at all.
    func write(_ text: String, to name: String) throws {
        let draft = "\(name).new"
        unlink(path(draft))
        // Made with its mode: a moment in which others could read a password is enough.
        let descriptor = open(path(draft), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw EmbeddedServiceError.system("cannot write \(path(draft))", errno) }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        try file.write(contentsOf: Data(text.utf8))
        try file.synchronize()
        try file.close()
        try give(draft, mode: 0o600)
        guard rename(path(draft), path(name)) == 0 else {
            throw EmbeddedServiceError.system("cannot write \(path(name))", errno)
        }
    }

    func read(_ name: String) -> String? { try? String(contentsOf: file(name), encoding: .utf8) }

    /// Makes the log, so that it is the service's whoever writes to it first, and empties one beyond 10 MiB.
    func prepareLog(_ name: String) throws {
        let descriptor = open(path(name), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw EmbeddedServiceError.system("cannot write \(path(name))", errno) }
        defer { close(descriptor) }
        if lseek(descriptor, 0, SEEK_END) > 10 << 20 { ftruncate(descriptor, 0) }
        try give(name, mode: 0o600)
    }

    /// The end of a log, for an error message.
    func lastLines(of name: String, count: Int = 12) -> String {
        guard let file = FileHandle(forReadingAtPath: path(name)), let size = try? file.seekToEnd() else { return "" }
        try? file.seek(toOffset: size - min(size, 8192))
        let text = String(decoding: (try? file.readToEnd()) ?? Data(), as: UTF8.self)
        return text.split(separator: "\n").suffix(count).joined(separator: "\n")
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
