import Foundation
import Texts

/// A file that only its owner may read. It is written completely or not at all.
package struct PrivateFile: Sendable {
    package let path: String
    /// The name of the file in messages.
    package let shown: String

    /// - Parameter shown: the name of the file in messages. If it is not given, messages use the
    ///   path, unless the path looks like a key that somebody gave in its place.
    package init(_ path: String, shownAs shown: String? = nil) {
        self.path = path
        self.shown =
            shown ?? (Self.isKey(path) ? "(not shown: it looks like a key, and not like the path of a file)" : path)
    }

    /// Whether a text given as a path is probably a key.
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

    /// The text of the file, and whether others than the owner may read or change it; `nil` if it
    /// does not exist.
    ///
    /// Follows links, because secrets that a platform mounts are often links.
    package func read() throws(FileFailure) -> (text: String, isOpenToOthers: Bool)? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw .system("\(shown) cannot be read")
        }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        // The status of the open file, so that text and mode are of the same file.
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

    /// Writes the file to the disk and replaces an existing one.
    package func write(_ text: String) throws(FileFailure) { try directory().write(text, to: name) }

    /// Writes a new file. Never overwrites a file.
    package func create(_ text: String) throws(FileFailure) { try directory().create(name, text) }

    // MARK: The directory

    private var name: String { path.lastIndex(of: "/").map { String(path[path.index(after: $0)...]) } ?? path }
    private func directory() throws(FileFailure) -> DirectoryHandle {
        try DirectoryHandle(DirectoryHandle.parent(of: path))
    }
}
