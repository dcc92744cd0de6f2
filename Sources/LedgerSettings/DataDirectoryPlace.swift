import Foundation
package import PrivateFiles

/// Where the `env` of a `jobledger up` belongs: in `DIR/place`.
///
/// The addresses in `DIR/env` are the original's also in a copy of DIR, and a socket in /tmp can be
/// anybody's once its directory is gone. So `env` is read in the directory that it was written in,
/// and while its sockets are where they were.
package struct DataDirectoryPlace: Sendable, Codable, Equatable {
    /// A directory in /tmp, and the number of the user whose it must be.
    package struct Sockets: Sendable, Codable, Equatable {
        package var path: String
        package var owner: UInt32

        package init(path: String, owner: UInt32) { (self.path, self.owner) = (path, owner) }
    }

    package static let file = "place"

    package var path: String
    package var identity: FileIdentity
    package var sockets: [Sockets]

    /// - Throws: ``LedgerSettings/Problem`` where the directory cannot be looked at.
    package init(_ directory: DirectoryHandle, sockets: [Sockets] = []) throws {
        guard let identity = directory.identity else {
            throw LedgerSettings.Problem(description: "\(directory.path) cannot be looked at")
        }
        (self.path, self.identity, self.sockets) = (directory.path, identity, sockets)
    }

    /// What stands in a directory; `nil` where nothing does, or nothing that is understood.
    package static func read(in directory: DirectoryHandle) throws -> DataDirectoryPlace? {
        guard let text = try directory.read(file) else { return nil }
        return try? JSONDecoder().decode(DataDirectoryPlace.self, from: Data(text.utf8))
    }

    package func write(in directory: DirectoryHandle) throws {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys, .withoutEscapingSlashes]
        try directory.write(String(decoding: try encoder.encode(self), as: UTF8.self) + "\n", to: Self.file)
    }

    /// Whether a directory is a copy of the one that this was written for: neither its name is the
    /// same, nor the directory itself, as it is where that was renamed. (A backup that was put back
    /// in its place goes on as the original.)
    package func isElsewhere(than directory: DirectoryHandle) -> Bool {
        path != directory.path && identity.number != directory.identity?.number
    }

    /// Looks whether `env` may be read in this directory.
    static func check(_ path: String) throws {
        // Without one there is no env either, and that is told by who looks for it.
        guard let directory = try? DirectoryHandle(path), directory.identity(of: "env") != nil else { return }
        let start = "`jobledger up --data-dir \(path)` starts it"
        let place = try read(in: directory)
        guard let place, place.identity == directory.identity else {
            let origin = place.map { " for \($0.path)" } ?? ""
            throw LedgerSettings.Problem(
                description:
                    "\(path)/env was not written here\(origin): its addresses are not those of the ledger in \(path), which is a copy or was put back; \(start)"
            )
        }
        for sockets in place.sockets {
            do {
                _ = try DirectoryHandle.findPrivate(sockets.path, of: FileOwner(uid: sockets.owner, gid: 0))
            } catch {
                throw LedgerSettings.NotRunning(
                    description: "the ledger in \(path) does not run: its sockets are gone (\(error)); \(start)")
            }
        }
    }
}
