import Foundation
package import PrivateFiles

/// The content of `DIR/place`: which directory the file `env` of a `jobledger up` belongs to.
///
/// In a copy of DIR, the addresses in `env` are still those of the original. And once a socket
/// directory in /tmp is gone, anybody can make one of the same name. So `env` is only used in the
/// directory in which it was written, and while its socket directories exist.
package struct DataDirectoryPlace: Sendable, Codable, Equatable {
    /// A socket directory in /tmp, and the number of the user who must own it.
    package struct Sockets: Sendable, Codable, Equatable {
        package var path: String
        package var owner: UInt32

        package init(path: String, owner: UInt32) { (self.path, self.owner) = (path, owner) }
    }

    package static let file = "place"

    package var path: String
    package var identity: FileIdentity
    package var sockets: [Sockets]

    /// - Throws: ``LedgerSettings/Problem`` if the status of the directory cannot be read.
    package init(_ directory: DirectoryHandle, sockets: [Sockets] = []) throws {
        guard let identity = directory.identity else {
            throw LedgerSettings.Problem(description: "the status of \(directory.path) cannot be read")
        }
        (self.path, self.identity, self.sockets) = (directory.path, identity, sockets)
    }

    /// The file `place` of a directory; `nil` if it is missing or malformed.
    package static func read(in directory: DirectoryHandle) throws -> DataDirectoryPlace? {
        guard let text = try directory.read(file) else { return nil }
        return try? JSONDecoder().decode(DataDirectoryPlace.self, from: Data(text.utf8))
    }

    package func write(in directory: DirectoryHandle) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try directory.write(String(decoding: try encoder.encode(self), as: UTF8.self) + "\n", to: Self.file)
    }

    /// Whether a directory is a copy of the one that this was written for: both its path and its
    /// inode differ. A renamed directory has the same inode, and a backup that was restored in its
    /// place has the same path; both continue as the original.
    package func isElsewhere(than directory: DirectoryHandle) -> Bool {
        path != directory.path && identity.number != directory.identity?.number
    }

    /// Checks that the `env` of a directory may be used.
    /// - Throws: ``LedgerSettings/Problem`` if it was written for another directory, or if that
    ///   cannot be determined; ``LedgerSettings/NotRunning`` if a socket directory is gone.
    static func check(_ path: String) throws {
        do {
            // A missing directory or `env` is reported by the caller, which reads `env` next.
            guard let directory = try DirectoryHandle.find(path), directory.identity(of: "env") != nil else { return }
            try check(directory, at: path)
        } catch let failure as FileFailure {
            throw LedgerSettings.Problem(description: failure.description)
        }
    }

    private static func check(_ directory: DirectoryHandle, at path: String) throws {
        let start = "`jobledger up --data-dir \(path)` starts it"
        let place = try read(in: directory)
        guard let place, place.identity == directory.identity else {
            let origin = place.map { " but for \($0.path)" } ?? ""
            throw LedgerSettings.Problem(
                description: """
                    \(path)/env was not written for this directory\(origin): its addresses are not those of the \
                    ledger in \(path), which is a copy or was restored; \(start)
                    """)
        }
        for sockets in place.sockets {
            let owner = FileOwner(uid: sockets.owner, gid: 0)
            guard try DirectoryHandle.findPrivate(sockets.path, of: owner) != nil else {
                throw LedgerSettings.NotRunning(
                    description: """
                        the ledger in \(path) is not running: its sockets are gone (\(sockets.path) is not a directory \
                        of user id \(sockets.owner) alone); \(start)
                        """)
            }
        }
    }
}
