import Foundation
package import LedgerCore

/// Writes the folder of a new definition, such as a projection: a small one that works, ready to be
/// changed.
package struct NewDefinition: Sendable {
    /// The folder exists already. Nothing was written.
    package struct Taken: Error, Sendable, CustomStringConvertible {
        package let path: String
        package var description: String { "\(path) exists already" }
    }

    private let name: LedgerName
    private let files: [(path: String, text: String)]

    /// - Parameter files: the texts, by their paths in the folder.
    package init(_ name: LedgerName, files: [(path: String, text: String)]) {
        self.name = name
        self.files = files
    }

    /// - Parameter directory: the folder that holds the definitions' folders; created if it is
    ///   missing.
    /// - Returns: the paths of the written files.
    package func write(in directory: String) throws -> [String] {
        let folder = URL(fileURLWithPath: directory, isDirectory: true).appending(path: name.text)
        guard !FileManager.default.fileExists(atPath: folder.path) else { throw Taken(path: folder.path) }
        return try files.map { path, text in
            let file = folder.appending(path: path)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
            return "\(directory)/\(name)/\(path)"
        }
    }
}
