import Foundation

/// A checkpoint in a file.
public struct CheckpointFile: WitnessMemory {
    public let path: String

    public init(path: String) { self.path = path }

    /// A checkpoint behind a line with an epoch.
    private static let mostBytes = SignedNote.mostBytes + 128

    public struct Failure: Error, Sendable, CustomStringConvertible {
        public let description: String
    }

    /// `nil` where there is no such file. What a sealer remembers, behind a line with its epoch,
    /// can be read as well.
    /// - Throws: ``Failure``
    public func load() throws(Failure) -> SignedCheckpoint? {
        var status = stat()
        guard stat(path, &status) == 0 else {
            if errno == ENOENT { return nil }
            throw Failure(description: "\(path) cannot be read: \(String(cString: strerror(errno)))")
        }
        // A pipe or a device may never end.
        guard status.st_mode & S_IFMT == S_IFREG, status.st_size <= Self.mostBytes else {
            throw Failure(description: "\(path) is no plain file with a checkpoint")
        }
        guard var text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw Failure(description: "\(path) cannot be read")
        }
        if text.hasPrefix("epoch "), let end = text.firstIndex(of: "\n") { text.removeSubrange(...end) }
        do {
            return try SignedCheckpoint(text)
        } catch {
            throw Failure(description: "\(path) has no checkpoint: \(error)")
        }
    }

    /// - Throws: ``Failure``
    public func save(_ checkpoint: SignedCheckpoint) throws(Failure) {
        // Of what the path itself names, not of what a link there leads to.
        if let type = try? FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType,
            type != .typeRegular
        {
            throw Failure(description: "\(path) is no plain file, and would be replaced by one: name another")
        }
        do {
            try Data(checkpoint.text.utf8).write(to: URL(fileURLWithPath: path), options: .atomic)
        } catch {
            throw Failure(description: "\(path) cannot be written: \(error.localizedDescription)")
        }
    }
}
