import Foundation

/// A file that its owner alone may read, written whole or not at all.
struct PrivateFile: Sendable {
    let path: String

    init(_ path: String) { self.path = path }

    struct Failure: Error, Sendable, CustomStringConvertible {
        let description: String
    }

    /// `nil` where there is none.
    func read() throws(Failure) -> String? {
        guard let data = FileManager.default.contents(atPath: path) else {
            if FileManager.default.fileExists(atPath: path) { throw Failure(description: "\(path) cannot be read") }
            return nil
        }
        return String(decoding: data, as: UTF8.self)
    }

    /// Whether others than the owner may read or change it.
    var isOpenToOthers: Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & 0o077 != 0
    }

    /// Writes it, to the disk, in the place of what was there.
    func write(_ text: String) throws(Failure) {
        let draft = "\(path).new"
        unlink(draft)
        try make(draft, text)
        guard rename(draft, path) == 0 else { throw failure("cannot be written") }
        // The name is in the directory, which has to be on the disk as well.
        let directory = open(URL(fileURLWithPath: path).deletingLastPathComponent().path, O_RDONLY | O_CLOEXEC)
        guard directory >= 0 else { throw failure("cannot be written") }
        defer { close(directory) }
        guard fsync(directory) == 0 else { throw failure("cannot be written") }
    }

    /// Writes it where there is none yet; another is never overwritten.
    func create(_ text: String) throws(Failure) { try make(path, text) }

    private func make(_ path: String, _ text: String) throws(Failure) {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw failure("cannot be made") }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        do {
            try file.write(contentsOf: Data(text.utf8))
            try file.synchronize()
            try file.close()
        } catch {
            throw Failure(description: "\(path) cannot be written: \(error)")
        }
    }

    private func failure(_ what: String) -> Failure {
        Failure(description: "\(path) \(what): \(String(cString: strerror(errno)))")
    }
}
