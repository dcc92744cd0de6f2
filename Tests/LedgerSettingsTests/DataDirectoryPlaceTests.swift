import Foundation
import PrivateFiles
import Testing

@testable import LedgerSettings

/// An `env` is used only in the directory for which it was written, and while its socket
/// directories belong to its ledger.
@Suite struct DataDirectoryPlaceTests {
    /// A directory with an `env`, as `up` leaves it.
    private func withDirectory(
        sockets: [DataDirectoryPlace.Sockets] = [], _ body: (_ parent: URL, _ directory: DirectoryHandle) throws -> Void
    ) throws {
        let parent = FileManager.default.temporaryDirectory.appending(path: "place-\(UUID())")
        defer { try? FileManager.default.removeItem(at: parent) }
        let directory = try DirectoryHandle.makePrivate(parent.appending(path: "original").path)
        try directory.write("DATABASE_URL=postgresql://localhost/x\nJOBLEDGER_SCHEMA=one\n", to: "env")
        try DataDirectoryPlace(directory, sockets: sockets).write(in: directory)
        try body(parent, directory)
    }

    @Test func isUsedWhereItWasWritten() throws {
        try withDirectory { parent, directory in
            #expect(try LedgerSettings(dataDirectory: directory.path).window == 100_000)
            let place = try #require(try DataDirectoryPlace.read(in: directory))
            #expect(!place.isElsewhere(than: directory))
            // A renamed directory is the same directory.
            let renamed = parent.appending(path: "renamed").path
            try #require(rename(directory.path, renamed) == 0)
            try DataDirectoryPlace.check(renamed)
            #expect(!place.isElsewhere(than: try DirectoryHandle(renamed)))
        }
    }

    @Test func isRefusedInACopy() throws {
        try withDirectory { parent, directory in
            let copy = parent.appending(path: "copy").path
            try FileManager.default.copyItem(atPath: directory.path, toPath: copy)
            let error = try #require(throws: LedgerSettings.Problem.self) { try LedgerSettings(dataDirectory: copy) }
            #expect(
                error.description.contains(directory.path)
                    && error.description.contains("jobledger up --data-dir \(copy)"))
            let place = try #require(try DataDirectoryPlace.read(in: try DirectoryHandle(copy)))
            #expect(place.isElsewhere(than: try DirectoryHandle(copy)))
            // Also if the copy takes the original's path while the original still exists.
            try #require(rename(directory.path, directory.path + "-away") == 0 && rename(copy, directory.path) == 0)
            #expect(throws: LedgerSettings.Problem.self) { try LedgerSettings(dataDirectory: directory.path) }
        }
    }

    @Test func isRefusedWithoutAPlaceFile() throws {
        try withDirectory { _, directory in
            for text in [nil, "", "{}"] as [String?] {
                try directory.remove(DataDirectoryPlace.file)
                if let text { try directory.write(text, to: DataDirectoryPlace.file) }
                #expect(throws: LedgerSettings.Problem.self) { try LedgerSettings(dataDirectory: directory.path) }
            }
        }
    }

    /// A directory that cannot be looked at is not taken for a missing one: the check would be left
    /// out, or a running ledger be reported as stopped. No file system has names of this length.
    @Test func whatCannotBeReadIsNotMissing() throws {
        let nameless = FileManager.default.temporaryDirectory.appending(path: String(repeating: "x", count: 300)).path
        #expect(throws: LedgerSettings.Problem.self) { try DataDirectoryPlace.check(nameless) }
        try withDirectory(sockets: [.init(path: nameless, owner: geteuid())]) { _, directory in
            #expect(throws: LedgerSettings.Problem.self) { try DataDirectoryPlace.check(directory.path) }
        }
    }

    /// In /tmp anybody can make a directory whose name has become free.
    @Test func isRefusedWithSocketsOfAnotherUser() throws {
        let path = FileManager.default.temporaryDirectory.appending(path: "sockets-\(UUID())").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        try withDirectory(sockets: [.init(path: path, owner: geteuid())]) { _, directory in
            func isRefused() throws -> Bool {
                do {
                    _ = try LedgerSettings(dataDirectory: directory.path)
                    return false
                } catch is LedgerSettings.NotRunning {
                    return true
                }
            }
            #expect(try isRefused(), "the socket directory does not exist")
            try #require(mkdir(path, 0o700) == 0)
            #expect(try !isRefused())
            chmod(path, 0o711)
            #expect(try isRefused(), "others can enter")
            chmod(path, 0o700)
            let own = try DataDirectoryPlace(directory, sockets: [.init(path: path, owner: geteuid() + 1)])
            try own.write(in: directory)
            #expect(try isRefused(), "it belongs to another user")
            try DataDirectoryPlace(directory, sockets: [.init(path: path + "-link", owner: geteuid())]).write(
                in: directory)
            symlink(path, path + "-link")
            defer { unlink(path + "-link") }
            #expect(try isRefused(), "it is a link")
        }
    }
}
