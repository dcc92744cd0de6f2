import Foundation

/// A directory, held by its descriptor: what is done in it stays in it, whatever becomes of its
/// path meanwhile.
///
/// Nothing that is done here follows a symbolic link. A new file has its mode from its first
/// instant and gets its name when it is whole.
package final class DirectoryHandle: Sendable {
    /// Absolute and without links, as the kernel has it.
    package let path: String
    let descriptor: Int32

    /// Opens a directory that is there.
    package convenience init(_ path: String) throws(FileFailure) {
        try self.init(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), path)
    }

    /// - Parameter descriptor: what opening `path` gave: negative where that failed.
    init(_ descriptor: Int32, _ path: String) throws(FileFailure) {
        guard descriptor >= 0 else { throw .system("the directory \(path) cannot be opened") }
        self.descriptor = descriptor
        self.path = Self.truePath(descriptor) ?? path
    }

    deinit { close(descriptor) }

    private static func truePath(_ descriptor: Int32) -> String? {
        guard let path = realpath("/proc/self/fd/\(descriptor)", nil) else { return nil }
        // realpath(3) allocated it for us; it is copied out and freed here.
        defer { free(path) }
        return String(cString: path)
    }

    /// The path of a file in it.
    package func path(_ name: String) -> String { path == "/" ? "/\(name)" : "\(path)/\(name)" }

    /// What is in it, without `.` and `..`.
    package func names() throws(FileFailure) -> [String] {
        do {
            return try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd/\(descriptor)")
        } catch {
            throw FileFailure("the directory \(path) cannot be read: \(error.localizedDescription)")
        }
    }

    // MARK: Files

    /// The text of a file; `nil` where there is none.
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

    /// Writes a file that its owner alone may read and change, on the disk and in the place of what
    /// was there, whole or not at all.
    /// - Parameter owner: whose it is; ourselves unless given.
    package func write(_ text: String, to name: String, for owner: FileOwner? = nil) throws(FileFailure) {
        // A name of its own: two who write the same file at once do not meet in the draft.
        let draft = "\(name).\(UInt32.random(in: .min ... .max)).new"
        try create(draft, text, for: owner)
        guard renameat(descriptor, draft, descriptor, name) == 0 else {
            let failure = FileFailure.system("\(path(name)) cannot be written")
            unlinkat(descriptor, draft, 0)
            throw failure
        }
        // The name is in the directory, which has to be on the disk as well.
        guard fsync(descriptor) == 0 else { throw .system("\(path(name)) cannot be written") }
    }

    /// Writes such a file where there is none yet; another is never overwritten.
    package func create(_ name: String, _ text: String, for owner: FileOwner? = nil) throws(FileFailure) {
        let file = openat(descriptor, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard file >= 0 else { throw .system("\(path(name)) cannot be made") }
        defer { close(file) }
        guard Self.write(Array(text.utf8), to: file), owner?.takes(file) ?? true, fsync(file) == 0 else {
            let failure = FileFailure.system("\(path(name)) cannot be written")
            unlinkat(descriptor, name, 0)
            throw failure
        }
    }

    /// Makes sure that there is a file to append to, which its owner alone may read and change, and
    /// empties one beyond `limit` bytes.
    package func prepareLog(_ name: String, for owner: FileOwner? = nil, limit: Int) throws(FileFailure) {
        let file = openat(descriptor, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0o600)
        guard file >= 0 else { throw .system("\(path(name)) cannot be written") }
        defer { close(file) }
        // A second name may be a file of anybody, elsewhere.
        guard let status = FileStatus(file), status.isFile, status.links == 1 else {
            throw FileFailure("\(path(name)) is no plain file with this name alone: remove it")
        }
        guard owner?.takes(file) ?? true, fchmod(file, 0o600) == 0, status.size <= limit || ftruncate(file, 0) == 0
        else {
            throw .system("\(path(name)) cannot be written")
        }
    }

    /// The last bytes of a file, as text; empty where it cannot be read.
    package func end(of name: String, bytes: Int) -> String {
        let file = openat(descriptor, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
        guard file >= 0 else { return "" }
        let handle = FileHandle(fileDescriptor: file, closeOnDealloc: true)
        if lseek(file, off_t(-bytes), SEEK_END) < 0 { lseek(file, 0, SEEK_SET) }
        return String(decoding: (try? handle.read(upToCount: bytes)) ?? Data(), as: UTF8.self)
    }

    // MARK: For everybody

    /// The directory of this name in it, made where it is missing, for everybody to read as far as
    /// the umask allows.
    package func directory(_ name: String) throws(FileFailure) -> DirectoryHandle {
        if mkdirat(descriptor, name, 0o777) != 0, errno != EEXIST {
            throw .system("the directory \(path(name)) cannot be made")
        }
        let made = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        if made < 0, errno == ENOTDIR || errno == ELOOP {
            throw FileFailure("\(path(name)) is a symbolic link or a file, and not followed: a directory belongs there")
        }
        return try DirectoryHandle(made, path(name))
    }

    /// Writes a file for everybody to read, in the place of what was there, whole or not at all.
    /// Until the system writes it to the disk by itself, a crash of the machine may take it away:
    /// it is for what can be written again.
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

    /// Makes a directory in it, which `owner` alone may list and change.
    package func makeDirectory(_ name: String, for owner: FileOwner? = nil) throws(FileFailure) {
        guard mkdirat(descriptor, name, 0o700) == 0 else { throw .system("the directory \(path(name)) cannot be made") }
        let made = openat(descriptor, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        guard made >= 0 else { throw .system("the directory \(path(name)) cannot be opened") }
        defer { close(made) }
        guard owner?.takes(made) ?? true, fchmod(made, 0o700) == 0 else {
            throw .system("the directory \(path(name)) cannot be given to its user")
        }
    }

    /// Removes a file, if it is there.
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
