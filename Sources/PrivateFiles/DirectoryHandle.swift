import Foundation

/// A directory held by its descriptor. Operations act on this directory even if its path leads
/// elsewhere meanwhile.
///
/// No operation follows a symbolic link. A new file has its final mode from the start, and gets its
/// name when it is complete.
package final class DirectoryHandle: Sendable {
    /// The absolute path without links, as the kernel reports it.
    package let path: String
    let descriptor: Int32

    /// Opens an existing directory.
    package convenience init(_ path: String) throws(FileFailure) {
        try self.init(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path)
    }

    /// Opens a directory; `nil` if there is none at this path.
    /// - Throws: ``FileFailure`` if it is there and cannot be opened.
    package static func find(_ path: String) throws(FileFailure) -> DirectoryHandle? {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if descriptor < 0, errno == ENOENT { return nil }
        return try DirectoryHandle(descriptor, path)
    }

    /// - Parameter descriptor: the result of opening `path`; negative if that failed.
    init(_ descriptor: Int32, _ path: String) throws(FileFailure) {
        guard descriptor >= 0 else { throw .system("the directory \(path) cannot be opened") }
        self.descriptor = descriptor
        self.path = Self.truePath(descriptor) ?? path
    }

    deinit { close(descriptor) }

    private static func truePath(_ descriptor: Int32) -> String? {
        guard let path = realpath("/proc/self/fd/\(descriptor)", nil) else { return nil }
        // realpath(3) allocated the buffer for the caller; it is copied and freed here.
        defer { free(path) }
        return String(cString: path)
    }

    /// The path of a file in the directory.
    package func path(_ name: String) -> String { path == "/" ? "/\(name)" : "\(path)/\(name)" }

    /// The names of all entries except `.` and `..`.
    package func names() throws(FileFailure) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd/\(descriptor)")
        } catch {
            throw FileFailure("the directory \(path) cannot be read: \(error.localizedDescription)")
        }
    }

    // MARK: Files

    /// The text of a file; `nil` if it does not exist.
    /// - Throws: ``FileFailure`` if it exists and cannot be read.
    package func read(_ name: String) throws(FileFailure) -> String? {
        let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
        guard file >= 0 else {
            if errno == ENOENT { return nil }
            throw .system("\(path(name)) cannot be read")
        }
        do {
            let data = try FileHandle(fileDescriptor: file, closeOnDealloc: true).readToEnd() ?? Data()
            return String(decoding: data, as: UTF8.self)
        } catch {
            throw FileFailure("\(path(name)) cannot be read: \(error.localizedDescription)")
        }
    }

    /// Writes a file that only its owner may read and change. It replaces an existing file,
    /// completely or not at all, and is on the disk when the call returns.
    /// - Parameter owner: the owner of the file; this process's user if not given.
    package func write(_ text: String, to name: String, for owner: FileOwner? = nil) throws(FileFailure) {
        // A random name, so that two processes that write the same file do not share a draft.
        let draft = "\(name).\(UInt32.random(in: .min ... .max)).new"
        try create(draft, text, for: owner)
        guard renameat(descriptor, draft, descriptor, name) == 0 else {
            let failure = FileFailure.system("\(path(name)) cannot be written")
            unlinkat(descriptor, draft, 0)
            throw failure
        }
        // The directory holds the name, so it must reach the disk too.
        guard fsync(descriptor) == 0 else { throw .system("\(path(name)) cannot be written") }
    }

    /// Writes a new file that only its owner may read and change. Never overwrites a file.
    package func create(_ name: String, _ text: String, for owner: FileOwner? = nil) throws(FileFailure) {
        let file = openat(descriptor, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw .system("\(path(name)) cannot be made") }
        defer { close(file) }
        guard Self.write(Array(text.utf8), to: file), owner?.takeOver(file) ?? true, fsync(file) == 0 else {
            let failure = FileFailure.system("\(path(name)) cannot be written")
            unlinkat(descriptor, name, 0)
            throw failure
        }
    }

    /// Prepares a log file for appending, which only its owner may read and change. Makes it if
    /// needed, and empties it if it has more than `limit` bytes.
    package func prepareLog(_ name: String, for owner: FileOwner? = nil, limit: Int) throws(FileFailure) {
        let file = openat(descriptor, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard file >= 0 else { throw .system("\(path(name)) cannot be written") }
        defer { close(file) }
        // With a second link, this could be somebody else's file elsewhere.
        guard let status = FileStatus(file), status.isFile, status.links == 1 else {
            throw FileFailure("\(path(name)) is not a regular file, or has a second name: remove it")
        }
        guard owner?.takeOver(file) ?? true, fchmod(file, 0o600) == 0, status.size <= limit || ftruncate(file, 0) == 0
        else {
            throw .system("\(path(name)) cannot be written")
        }
    }

    /// The last bytes of a file as text; empty if it cannot be read.
    package func end(of name: String, bytes: Int) -> String {
        let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { return "" }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        if lseek(file, off_t(-bytes), SEEK_END) < 0 { lseek(file, 0, SEEK_SET) }
        return String(decoding: (try? handle.read(upToCount: bytes)) ?? Data(), as: UTF8.self)
    }

    // MARK: Public files

    /// A subdirectory that everybody may read as far as the umask allows. It is made if needed.
    package func directory(_ name: String) throws(FileFailure) -> DirectoryHandle {
        if mkdirat(descriptor, name, 0o777) != 0, errno != EEXIST {
            throw .system("the directory \(path(name)) cannot be made")
        }
        let made = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if made < 0, errno == ENOTDIR || errno == ELOOP {
            throw FileFailure("\(path(name)) is a symbolic link or a file, but must be a directory")
        }
        return try DirectoryHandle(made, path(name))
    }

    /// Writes a file that everybody may read as far as the umask allows. It replaces an existing
    /// file, completely or not at all. The file is not forced to the disk, so a crash of the
    /// machine may lose it: use this only for content that can be written again.
    package func publish(_ bytes: [UInt8], as name: String) throws(FileFailure) {
        let draft = "\(name).\(UInt32.random(in: .min ... .max)).new"
        let file = openat(descriptor, draft, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o666)
        guard file >= 0 else { throw .system("\(path(name)) cannot be written") }
        defer { close(file) }
        guard Self.write(bytes, to: file), renameat(descriptor, draft, descriptor, name) == 0 else {
            let failure = FileFailure.system("\(path(name)) cannot be written")
            unlinkat(descriptor, draft, 0)
            throw failure
        }
    }

    // MARK: Directories and names

    /// Makes a subdirectory that only `owner` may list and change.
    package func makeDirectory(_ name: String, for owner: FileOwner? = nil) throws(FileFailure) {
        guard mkdirat(descriptor, name, 0o700) == 0 else { throw .system("the directory \(path(name)) cannot be made") }
        let made = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard made >= 0 else { throw .system("the directory \(path(name)) cannot be opened") }
        defer { close(made) }
        guard owner?.takeOver(made) ?? true, fchmod(made, 0o700) == 0 else {
            throw .system("the directory \(path(name)) cannot be given to its user")
        }
    }

    /// Removes a file if it exists.
    package func remove(_ name: String) throws(FileFailure) {
        guard unlinkat(descriptor, name, 0) == 0 || errno == ENOENT else {
            throw .system("\(path(name)) cannot be removed")
        }
    }

    package func rename(_ name: String, to other: String) throws(FileFailure) {
        guard renameat(descriptor, name, descriptor, other) == 0 else {
            throw .system("\(path(name)) cannot be renamed")
        }
    }

    private static func write(_ bytes: [UInt8], to file: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Foundation.write(file, $0.baseAddress, $0.count) }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { return false }
            rest = rest.dropFirst(written)
        }
        return true
    }
}
