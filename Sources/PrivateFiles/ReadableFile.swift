import Glibc

/// A file that the user named, or standard input, which is read from its beginning. Errors have its
/// name and the system's reason.
package final class ReadableFile: Sendable {
    /// The name in messages.
    package let name: String
    /// In bytes; `nil` if it is not a regular file but a pipe, for example.
    package let size: Int64?
    private let descriptor: Int32
    private let isOurs: Bool

    package convenience init(_ path: String) throws(FileFailure) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw .system("\(path) cannot be read") }
        try self.init(descriptor, path, isOurs: true)
    }

    private init(_ descriptor: Int32, _ name: String, isOurs: Bool) throws(FileFailure) {
        (self.descriptor, self.name, self.isOurs) = (descriptor, name, isOurs)
        let status = FileStatus(descriptor)
        size = status.flatMap { $0.isFile ? Int64($0.size) : nil }
        guard status?.isDirectory != true else { throw FileFailure("\(name) cannot be read: it is a directory") }
    }

    /// - Parameter path: the path of a file, or `-` for standard input.
    package static func named(_ path: String) throws(FileFailure) -> ReadableFile {
        path == "-" ? try ReadableFile(STDIN_FILENO, "standard input", isOurs: false) : try ReadableFile(path)
    }

    deinit { if isOurs { close(descriptor) } }

    /// The next bytes: at most as many as given, at least one, and none at the end.
    package func read(upTo most: Int) throws(FileFailure) -> [UInt8] {
        var code: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: most) { buffer, count in
            var read = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
            while read < 0, errno == EINTR { read = Glibc.read(descriptor, buffer.baseAddress, buffer.count) }
            if read < 0 { code = errno }
            count = max(0, read)
        }
        guard code == 0 else { throw .system("\(name) cannot be read", code) }
        return bytes
    }

    /// The rest of the file.
    /// - Parameter limit: the most bytes that it may have.
    /// - Throws: ``FileFailure`` if it has more.
    package func readAll(limit: Int) throws(FileFailure) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let part = try read(upTo: 1 << 20)
            if part.isEmpty { return bytes }
            guard bytes.count + part.count <= limit else { throw FileFailure("\(name) has more than \(limit) bytes") }
            bytes += part
        }
    }
}
