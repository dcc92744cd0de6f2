import Glibc

/// A file of bytes that only its owner may change, and that is read and written in places.
package final class PlacedFile: Sendable {
    private let path: String
    private let descriptor: Int32

    /// Opens a file to read it; `nil` if it does not exist.
    package init?(reading path: String) throws(FileFailure) {
        self.path = path
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        if descriptor < 0 {
            if errno == ENOENT { return nil }
            throw .system("\(path) cannot be read")
        }
    }

    /// Opens a file to read and write it. Makes it if needed. Follows no link.
    package init(writing path: String) throws(FileFailure) {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0o600)
        guard descriptor >= 0 else { throw .system("\(path) cannot be written") }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    /// In bytes.
    package func size() throws(FileFailure) -> Int {
        guard let status = FileStatus(descriptor), status.isFile else {
            throw FileFailure("\(path) is not a regular file")
        }
        return Int(status.size)
    }

    /// The bytes from a place on; fewer than `count` at the end of the file.
    package func read(_ count: Int, at place: Int) throws(FileFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            var code: Int32 = 0
            let at = off_t(place + bytes.count)
            // Valid within the closure, which reads no more than the buffer holds.
            let part = [UInt8](unsafeUninitializedCapacity: count - bytes.count) { buffer, filled in
                let read = pread(descriptor, buffer.baseAddress, buffer.count, at)
                if read < 0 { code = errno }
                filled = max(0, read)
            }
            if code == EINTR { continue }
            guard code == 0 else { throw .system("\(path) cannot be read", code) }
            if part.isEmpty { return bytes }
            bytes += part
        }
        return bytes
    }

    package func write(_ bytes: [UInt8], at place: Int) throws(FileFailure) {
        var done = 0
        while done < bytes.count {
            // Valid within the closure, which writes no more than the buffer holds.
            let written = bytes[done...].withUnsafeBytes {
                pwrite(descriptor, $0.baseAddress, $0.count, off_t(place + done))
            }
            if written < 0, errno == EINTR { continue }
            guard written > 0 else { throw .system("\(path) cannot be written") }
            done += written
        }
    }

    /// Cuts the file off behind its first `size` bytes, and forces it to the disk.
    package func finish(at size: Int) throws(FileFailure) {
        guard ftruncate(descriptor, off_t(size)) == 0, fsync(descriptor) == 0 else {
            throw .system("\(path) cannot be written")
        }
    }
}
