import Foundation
import Texts

/// A file that its owner alone may read, written whole or not at all.
package struct PrivateFile: Sendable {
    package let path: String
    /// What messages call it.
    package let shown: String

    /// - Parameter shown: what messages call it; its path unless given, or unless that looks as if
    ///   somebody had put a key in its place.
    package init(_ path: String, shownAs shown: String? = nil) {
        self.path = path
        self.shown =
            shown ?? (Self.isKey(path) ? "(not shown: it looks like a key, and not like the path of a file)" : path)
    }

    /// Whether a text in the place of a path is a key itself, as far as can be told.
    private static func isKey(_ text: String) -> Bool {
        let letters = text.utf8.filter { $0 != UInt8(ascii: "\n") && $0 != UInt8(ascii: " ") }
        let isLong = letters.count >= 40 && letters.allSatisfy(isOfBase64) && !text.hasPrefix("/")
        return isLong || SecretText.isPrivateKey(text)
    }

    private static func isOfBase64(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
            UInt8(ascii: "0")...UInt8(ascii: "9"):
            true
        default:
            [UInt8(ascii: "+"), UInt8(ascii: "/"), UInt8(ascii: "="), UInt8(ascii: "-"), UInt8(ascii: "_")].contains(
                byte)
        }
    }

    /// What is in it, and whether others than the owner may read or change it. `nil` where there is
    /// none.
    ///
    /// A link is followed: a secret that a platform mounts is often one.
    package func read() throws(FileFailure) -> (text: String, isOpenToOthers: Bool)? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw .system("\(shown) cannot be read")
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        // Asked of what was opened, so that both answers are about the same file.
        guard let status = FileStatus(file) else { throw .system("\(shown) cannot be read") }
        let data: Data
        do {
            data = try handle.readToEnd() ?? Data()
        } catch {
            throw FileFailure("\(shown) cannot be read: \(error.localizedDescription)")
        }
        guard let text = String(validating: data, as: UTF8.self) else { throw FileFailure("\(shown) is not UTF-8") }
        return (text, status.permissions & 0o077 != 0)
    }

    /// Writes it, to the disk, in the place of what was there.
    package func write(_ text: String) throws(FileFailure) { try directory().write(text, to: name) }

    /// Writes it where there is none yet; another is never overwritten.
    package func create(_ text: String) throws(FileFailure) { try directory().create(name, text) }

    // MARK: The directory

    private var name: String { path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path }
    private func directory() throws(FileFailure) -> DirectoryHandle {
        try DirectoryHandle(DirectoryHandle.parent(of: path))
    }
}
