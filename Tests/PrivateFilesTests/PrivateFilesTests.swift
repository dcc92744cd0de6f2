import Foundation
import LedgerTesting
import Testing

@testable import PrivateFiles

/// Secrets on disk are closed to others from the start, and no link of another user is followed.
@Suite struct PrivateFilesTests {
    private static let someoneElse = FileOwner(uid: 65_534, gid: 65_534)
    private static let isRoot = geteuid() == 0

    private func permissions(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int)
    }

    private func owner(_ path: String) throws -> Int {
        try #require(try FileManager.default.attributesOfItem(atPath: path)[.ownerAccountID] as? Int)
    }

    @Test func aSecretIsClosedToOthersFromTheStart() async throws {
        try await withDirectory { directory in
            let handle = try DirectoryHandle.makePrivate(directory.path)
            #expect(try permissions(directory.path) == 0o700)
            // A watch on the directory reports each step. No file may appear with another mode and
            // be narrowed afterwards.
            let steps = try Steps(of: directory.path)
            try handle.write("secret", to: "env")
            try PrivateFile(directory.appending(path: "key").path).create("secret")
            try PrivateFile(directory.appending(path: "memory").path).write("secret")
            #expect(try steps.names().contains { $0.hasPrefix("env.") })
            for name in try handle.names() { #expect(try permissions(handle.path(name)) == 0o600, "\(name)") }
            #expect(try handle.names().sorted() == ["env", "key", "memory"])
            #expect(try steps.modeChanges() == 0, "a file was made with another mode")
        }
    }

    /// A directory that is missing, or not the owner's alone, is told from one that cannot be
    /// looked at.
    @Test func whatCannotBeReadIsNotMissing() async throws {
        try await withDirectory { directory in
            _ = try DirectoryHandle.makePrivate(directory.path)
            func path(_ name: String) -> String { directory.appending(path: name).path }
            #expect(try DirectoryHandle.findPrivate(directory.path, of: .ourselves)?.path == directory.path)
            #expect(try DirectoryHandle.findPrivate(directory.path, of: Self.someoneElse)?.path == nil)
            #expect(mkdir(path("open"), 0o700) == 0 && chmod(path("open"), 0o711) == 0)
            #expect(symlink(directory.path, path("link")) == 0)
            try DirectoryHandle(directory.path).create("file", "")
            for name in ["none", "open", "link", "file", "file/below"] {
                #expect(try DirectoryHandle.findPrivate(path(name), of: .ourselves)?.path == nil, "\(name)")
            }
            #expect(try DirectoryHandle.find(path("none"))?.path == nil)
            // No file system has names of this length.
            let nameless = path(String(repeating: "x", count: 300))
            #expect(throws: FileFailure.self) { try DirectoryHandle.findPrivate(nameless, of: .ourselves) }
            #expect(throws: FileFailure.self) { try DirectoryHandle.find(nameless) }
            #expect(throws: FileFailure.self) { try DirectoryHandle.find(path("file")) }
        }
    }

    @Test func onlyARegularOutputFileIsReplaced() async throws {
        try await withDirectory { directory in
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            func path(_ name: String) -> String { directory.appending(path: name).path }
            try WrittenFile.write("one", to: path("plain"), mode: 0o666)
            #expect(chmod(path("plain"), 0o640) == 0)
            try WrittenFile.write("two", to: path("plain"), mode: 0o666)
            #expect(
                try String(contentsOfFile: path("plain"), encoding: .utf8) == "two"
                    && permissions(path("plain")) == 0o640)
            try WrittenFile.write("three", to: path("secret"), mode: 0o600)
            #expect(try permissions(path("secret")) == 0o600)

            #expect(symlink(path("plain"), path("link")) == 0 && symlink(path("none"), path("dangling")) == 0)
            for name in ["link", "dangling", ""] {
                #expect(throws: FileFailure.self, "\(name)") { try WrittenFile(path(name), mode: 0o600) }
            }
            #expect(throws: FileFailure.self) { try WrittenFile("", mode: 0o600) }
            #expect(try String(contentsOfFile: path("plain"), encoding: .utf8) == "two")

            // A pipe is written directly, like /dev/stdout.
            #expect(mkfifo(path("pipe"), 0o600) == 0)
            let reader = open(path("pipe"), O_RDONLY | O_NONBLOCK | O_CLOEXEC)
            defer { close(reader) }
            try WrittenFile.write("four", to: path("pipe"), mode: 0o600)
            var bytes = [UInt8](repeating: 0, count: 10)
            #expect(read(reader, &bytes, 10) == 4)
            #expect(
                try FileManager.default.attributesOfItem(atPath: path("pipe"))[.type] as? FileAttributeType
                    != .typeRegular)

            // An unfinished file leaves nothing behind.
            do {
                let unfinished = try WrittenFile(path("unfinished"), mode: 0o600)
                try unfinished.write("five".utf8)
            }
            let names = try FileManager.default.contentsOfDirectory(atPath: directory.path).sorted()
            #expect(names == ["dangling", "link", "pipe", "plain", "secret"])
        }
    }

    /// Uses devices of its own, because those of the machine serve everybody.
    @Test(.enabled("only root can make a device") { geteuid() == 0 }) func aDeviceIsNotReplaced() async throws {
        try await withDirectory { directory in
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            func device(_ name: String, minor: dev_t) -> String {
                let path = directory.appending(path: name).path
                #expect(mknod(path, S_IFCHR | 0o666, 1 << 8 | minor) == 0)
                return path
            }
            func isDevice(_ path: String) throws -> Bool {
                try FileManager.default.attributesOfItem(atPath: path)[.type] as? FileAttributeType
                    == .typeCharacterSpecial
            }
            let (null, full) = (device("null", minor: 3), device("full", minor: 7))
            try WrittenFile.write("text", to: null, mode: 0o600)
            #expect(throws: FileFailure("\(full) cannot be written: No space left on device")) {
                try WrittenFile.write("text", to: full, mode: 0o600)
            }
            #expect(try isDevice(null) && isDevice(full))
            // A device of another user may have been put there to receive the output.
            #expect(chown(null, 65534, 65534) == 0)
            let error = #expect(throws: FileFailure.self) { try WrittenFile(null, mode: 0o600) }
            #expect(error?.description.contains("belongs to user id 65534") == true)
        }
    }

    /// Opening it must not wait for a reader, who may never come.
    @Test func aPipeWithoutAReaderIsRefused() async throws {
        try await withDirectory { directory in
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let pipe = directory.appending(path: "pipe").path
            #expect(mkfifo(pipe, 0o600) == 0)
            let error = #expect(throws: FileFailure.self) { try WrittenFile(pipe, mode: 0o600) }
            #expect(error?.description.contains("start the reader first") == true)
            let nothing = #expect(throws: FileFailure.self) { try WrittenFile(directory.path, mode: 0o600) }
            #expect(nothing?.description.contains("Is a directory") == true)
            #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["pipe"])
        }
    }

    @Test func anErrorOfReadingNamesTheFile() async throws {
        try await withDirectory { directory in
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let file = directory.appending(path: "file").path
            #expect(throws: FileFailure("\(file) cannot be read: No such file or directory")) { try ReadableFile(file) }
            #expect(throws: FileFailure("\(directory.path) cannot be read: it is a directory")) {
                try ReadableFile(directory.path)
            }
            try Data("text".utf8).write(to: URL(filePath: file))
            #expect(try ReadableFile(file).readAll(limit: 4) == Array("text".utf8) && ReadableFile(file).size == 4)
            #expect(throws: FileFailure("\(file) has more than 3 bytes")) { try ReadableFile(file).readAll(limit: 3) }
        }
    }

    @Test func aFileIsReplacedAndALinkIsNotFollowed() async throws {
        try await withDirectory { directory in
            let handle = try DirectoryHandle.makePrivate(directory.path)
            let victim = directory.appending(path: "victim")
            try Data("old".utf8).write(to: victim)
            for name in ["link", "log"] { symlink(victim.path, handle.path(name)) }
            try handle.write("new", to: "link")
            #expect(try handle.read("link") == "new")
            #expect(throws: FileFailure.self) { try handle.prepareLog("log", limit: 0) }
            #expect(throws: FileFailure.self) { try handle.read("log") }
            #expect(handle.end(of: "log", bytes: 10) == "")
            link(victim.path, handle.path("second name"))
            #expect(throws: FileFailure.self) { try handle.prepareLog("second name", limit: 0) }
            #expect(throws: FileFailure.self) { try handle.create("victim", "new") }
            #expect(try String(contentsOf: victim, encoding: .utf8) == "old")
        }
    }

    @Test func aLinkInThePlaceOfADirectoryIsRefused() async throws {
        try await withDirectory { directory in
            _ = try DirectoryHandle.makePrivate(directory.appending(path: "target").path)
            let link = directory.appending(path: "link").path
            symlink("target", link)
            let mode = try permissions(directory.appending(path: "target").path)
            let error = try #require(throws: FileFailure.self) {
                try DirectoryHandle.makePrivate(link, for: Self.someoneElse)
            }
            #expect(error.description.contains("symbolic link"), "\(error)")
            #expect(try permissions(directory.appending(path: "target").path) == mode)
            #expect(try owner(directory.appending(path: "target").path) == Int(geteuid()))
        }
    }

    @Test func aDirectoryThatOthersCanWriteIsRefusedUnlessEmpty() async throws {
        try await withDirectory { directory in
            let open = directory.appending(path: "open").path
            _ = try DirectoryHandle.makePrivate(open)
            chmod(open, 0o777)
            // An empty directory is accepted and closed to others.
            _ = try DirectoryHandle.makePrivate(open)
            #expect(try permissions(open) == 0o700)
            try Data().write(to: URL(filePath: open + "/planted"))
            chmod(open, 0o777)
            let error = try #require(throws: FileFailure.self) { try DirectoryHandle.makePrivate(open) }
            #expect(error.description.contains("chmod go-w \(open)"), "\(error)")
        }
    }

    @Test(.enabled(if: isRoot, "only root can give files away"))
    func rootIsNotLedAstrayInADirectoryOfAnotherUser() async throws {
        try await withDirectory { directory in
            _ = try DirectoryHandle.makePrivate(directory.path, passage: .group(Self.someoneElse.gid))
            let (theirs, victim) = (directory.appending(path: "theirs").path, directory.appending(path: "victim").path)
            _ = try DirectoryHandle.makePrivate(theirs, for: Self.someoneElse)
            _ = try DirectoryHandle.makePrivate(victim)
            symlink(victim, theirs + "/ledger")
            for path in [theirs + "/ledger/postgres", theirs + "/new", theirs + "/ledger"] {
                let error = try #require(throws: FileFailure.self) {
                    try DirectoryHandle.makePrivate(path, for: Self.someoneElse)
                }
                #expect(error.description.contains("belongs to user id \(Self.someoneElse.uid)"), "\(error)")
                #expect(error.description.contains("/var/lib/jobledger"))
            }
            #expect(try DirectoryHandle(victim).names() == [])
            #expect(try owner(victim) == 0)
            // A directory of another user is refused even if only root can write the path to it.
            #expect(throws: FileFailure.self) { try DirectoryHandle.makePrivate(theirs) }
            // A link that only root can have made is followed.
            symlink(directory.path, directory.path + "/here")
            let reached = try DirectoryHandle.makePrivate(directory.path + "/here/made")
            #expect(reached.path == directory.path + "/made")
        }
    }

    @Test(.enabled(if: isRoot, "only root can give files away"))
    func aPathOnWhichOthersCanWriteIsRefused() async throws {
        try await withDirectory { directory in
            _ = try DirectoryHandle.makePrivate(directory.path)
            chmod(directory.path, 0o777)
            let error = try #require(throws: FileFailure.self) {
                try DirectoryHandle.makePrivate(directory.path + "/x")
            }
            #expect(error.description.contains("others can write in \(directory.path)"), "\(error)")
            chmod(directory.path, 0o1777)
            _ = try DirectoryHandle.makePrivate(directory.path + "/x")
            // In a sticky directory, anybody can make a link.
            symlink("/root", directory.path + "/link")
            lchown(directory.path + "/link", Self.someoneElse.uid, Self.someoneElse.gid)
            #expect(throws: FileFailure.self) { try DirectoryHandle.makePrivate(directory.path + "/link/x") }
            #expect(!FileManager.default.fileExists(atPath: "/root/x"))
        }
    }
}

/// The changes in a directory, as inotify(7) reports them.
private final class Steps {
    private struct Event {
        let mask: UInt32
        let name: String
    }

    private let descriptor: Int32
    private var seen: [Event] = []

    init(of directory: String) throws {
        descriptor = inotify_init1(Int32(IN_NONBLOCK))
        let mask = UInt32(IN_CREATE | IN_ATTRIB | IN_MOVED_TO)
        try #require(descriptor >= 0 && inotify_add_watch(descriptor, directory, mask) >= 0)
    }

    deinit { close(descriptor) }

    func names() throws -> [String] {
        try collect()
        return seen.filter { $0.mask & UInt32(IN_CREATE) != 0 }.map(\.name)
    }

    func modeChanges() throws -> Int {
        try collect()
        return seen.count { $0.mask & UInt32(IN_ATTRIB) != 0 }
    }

    private func collect() throws {
        var buffer = [UInt8](repeating: 0, count: 64 << 10)
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return }
        var place = 0
        while place + 16 <= count {
            let (mask, length) = buffer.withUnsafeBytes {
                (
                    $0.loadUnaligned(fromByteOffset: place + 4, as: UInt32.self),
                    $0.loadUnaligned(fromByteOffset: place + 12, as: UInt32.self)
                )
            }
            let name = buffer[(place + 16)..<(place + 16 + Int(length))].prefix { $0 != 0 }
            seen.append(Event(mask: mask, name: String(decoding: name, as: UTF8.self)))
            place += 16 + Int(length)
        }
    }
}
