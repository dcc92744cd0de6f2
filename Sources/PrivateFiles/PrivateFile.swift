import Foundation

/// A file that its owner alone may read, written whole or not at all.
public struct PrivateFile: Sendable {
    public let path: String

    public init(_ path: String) { self.path = path }

    /// What is in it, and whether others than the owner may read or change it. `nil` where there is none.
    ///
    /// A link is followed: a secret that a platform mounts is often one.
    public func read() throws(FileFailure) -> (text: String, isOpenToOthers: Bool)? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw .system("\(path) cannot be read")
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        // Asked of what was opened, so that both answers are about the same file.
        guard let status = FileStatus(file) else { throw .system("\(path) cannot be read") }
        let data: Data
        do {
            data = try handle.readToEnd() ?? Data()
        } catch {
            throw FileFailure("\(path) cannot be read: \(error.localizedDescription)")
        }
        guard let text = String(validating: data, as: UTF8.self) else { throw FileFailure("\(path) is not UTF-8") }
        return (text, status.permissions & 0o077 != 0)
    }

    /// Writes it, to the disk, in the place of what was there.
    public func write(_ text: String) throws(FileFailure) { try directory().write(text, to: name) }

    /// Writes it where there is none yet; another is never overwritten.
    public func create(_ text: String) throws(FileFailure) { try directory().create(name, text) }

    private var name: String { path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path }
    private func directory() throws(FileFailure) -> DirectoryHandle { try DirectoryHandle(DirectoryHandle.parent(of: path)) }
}
