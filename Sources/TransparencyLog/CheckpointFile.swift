import Foundation

/// A checkpoint in a file.
public struct CheckpointFile: WitnessMemory {
    public let path: String

    public init(path: String) { self.path = path }

    /// Room for a checkpoint and the line with an epoch before it.
    private static let mostBytes = SignedNote.mostBytes + 128

    public struct Failure: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// Reads the checkpoint. The record of a sealer, which has a line with the epoch before the
    /// checkpoint, can be read as well.
    /// - Returns: `nil` where there is no such file.
    /// - Throws: ``Failure`` where the file cannot be read or has no checkpoint.
    public func load() throws(Failure) -> SignedCheckpoint? {
        // Through a link, to the file that is read.
        guard let status = try status({ stat($0, $1) }, failing: "cannot be read") else { return nil }
        // Reading a pipe or a device might never end.
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= Self.mostBytes else {
            throw Failure(description: "\(path) is not a regular file with a checkpoint")
        }
        var text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            throw Failure(description: "\(path) cannot be read: \(error.localizedDescription)")
        }
        if text.hasPrefix("epoch "), let end = text.firstIndex(of: "\n") { text.removeSubrange(...end) }
        do {
            return try SignedCheckpoint(text)
        } catch {
            throw Failure(description: "\(path) has no checkpoint: \(error)")
        }
    }

    /// Writes the checkpoint in place of the one before.
    /// - Throws: ``Failure`` where the file cannot be written, or where the path names something
    ///   else than a regular file, such as a link: writing would replace it.
    public func save(_ checkpoint: SignedCheckpoint) throws(Failure) {
        // Of the path itself, not of what a link leads to.
        let status = try status({ lstat($0, $1) }, failing: "cannot be written")
        guard status.map({ $0.st_mode & S_IFMT == S_IFREG }) ?? true else {
            throw Failure(description: "\(path) is not a regular file, and writing would replace it: give another path")
        }
        do {
            try Data(checkpoint.text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw Failure(description: "\(path) cannot be written: \(error.localizedDescription)")
        }
    }

    /// - Returns: `nil` where there is no such file.
    private func status(
        _ query: (UnsafePointer<CChar>, UnsafeMutablePointer<stat>) -> Int32, failing what: String
    ) throws(Failure) -> stat? {
        var status = stat()
        if query(path, &status) == 0 { return status }
        if errno == ENOENT { return nil }
        throw Failure(description: "\(path) \(what): \(String(cString: strerror(errno)))")
    }
}
