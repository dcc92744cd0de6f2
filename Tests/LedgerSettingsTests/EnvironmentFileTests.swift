import Foundation
import Testing

@testable import LedgerSettings

/// No line is silently ignored: it is read as docker compose and shells read it, or it is an error
/// with its number.
@Suite struct EnvironmentFileTests {
    private static func file(_ text: String) throws -> EnvironmentFile {
        try EnvironmentFile(path: ".env", bytes: Array(text.utf8))
    }

    @Test(arguments: [
        ("A=b", "b"), ("A=", ""), ("A=  ", ""), ("A= # nothing", ""), ("  A=b", "b"), ("\tA=b \t", "b"),
        ("A=b c", "b c"),
        ("export A=b", "b"), ("export\tA=b", "b"), ("A=b # said", "b"), ("A=b\t# said", "b"), ("A=b#c", "b#c"),
        ("A=b=c", "b=c"),
        ("A='b # c'", "b # c"), ("A='b $c \\n \"d\"'", "b $c \\n \"d\""), ("A='' # none", ""),
        ("A=\"b c\"  # said", "b c"),
        (#"A="b \" \\ \$c \`""#, #"b " \ $c `"#), ("A=\"it's\"", "it's"), ("A=é–日本", "é–日本"),
        ("A=postgresql://u:p@/d?host=/tmp/x&port=5432", "postgresql://u:p@/d?host=/tmp/x&port=5432"),
    ])
    func reads(_ line: String, as value: String) throws {
        for text in [line, line + "\n", line + "\r\n", "\u{FEFF}" + line, "# before\r\n\r\n" + line + "\r\n# behind"] {
            #expect(try Self.file(text).settings["A"]?.value.get() == value, "\(text.debugDescription)")
        }
    }

    @Test(arguments: [
        ("A", "not NAME=value"), ("export A", "not NAME=value"), ("A: b", "not NAME=value"), ("1A=b", "not NAME=value"),
        ("A.B=c", "not NAME=value"), ("=b", "not NAME=value"), ("A =b", "before the ="),
        ("export A = b", "before the ="),
        ("exportA b=c", "not NAME=value"), ("A\u{A0}=b", "not NAME=value"), ("\u{FEFF}\u{FEFF}A=b", "not NAME=value"),
        ("A=b\u{0}", "zero byte"), ("A=b\rB=c", "control character"), ("A=b\u{1B}[31m", "control character"),
    ])
    func refusesTheFile(_ line: String, because part: String) throws {
        let error = try #require(throws: LedgerSettings.Problem.self) { try Self.file("# one\n\n" + line + "\nC=d\n") }
        #expect(error.description.hasPrefix(".env, line 3: ") && error.description.contains(part), "\(error)")
    }

    @Test(arguments: [
        ("A= b", "after the ="), ("A=#b", "begins with #"), ("A=pa$$word", "single quotes"),
        ("A=$HOME", "single quotes"),
        ("A=a\\b", "single quotes"), ("A=a'b'", "in double quotes"), ("A=a\"b\"", "single quotes"),
        ("A=`x`", "single quotes"),
        ("A='secret' x", "follow the closing quote"),
        ("A='secret'#x", "follow the closing quote"), ("A=\"$secret\"", "write \\ before"),
        ("A=\"secret\\n\"", "write \\ before"),
    ])
    func refusesAValue(_ line: String, because part: String) throws {
        let file = try Self.file("B=c\r\n" + line)
        let error = try #require(throws: LedgerSettings.Problem.self) { try file.settings["A"]?.value.get() }
        #expect(error.description.hasPrefix(".env, line 2: A: ") && error.description.contains(part), "\(error)")
        #expect(
            !error.description.contains("secret") && !error.description.contains("word"), "a value may be a password")
        // Other settings in the file still count.
        #expect(try file.settings["B"]?.value.get() == "c")
    }

    /// Some programs take the following lines as part of the value, others as settings. So this is
    /// an error even in a setting of another program.
    @Test(arguments: [
        "A='secret", "A=\"secret", "A=it's", "A=a\"b", "export A='x", "A=`secret", "A=$(secret", "A=${secret", "A=(1",
        "A=secret\\",
        "A='x'\"y", "A=\"a\\\"", "A=a\\\\\\",
    ])
    func refusesWhatIsNotClosedOnItsLine(_ line: String) throws {
        let error = try #require(throws: LedgerSettings.Problem.self) {
            try Self.file("# one\n" + line + "\nJOBLEDGER_SCHEMA=nope\nB=y'\n")
        }
        #expect(error.description.hasPrefix(".env, line 2: A: "), "\(error)")
        #expect(!error.description.contains("secret"))
    }

    @Test(arguments: [
        "A=b # it's", "A='it''s'", "A=$(x) y", "A={\"a\": [1]}", "A=a(b", "A=\"'\"", "A='\"'", "A=\\'x", "A='\\'",
        "A= # '",
    ])
    func leavesToOthersWhatIsClosed(_ line: String) throws {
        #expect(try Self.file(line + "\nB=c").settings["B"]?.value.get() == "c")
    }

    @Test(arguments: [
        ("export A=1 B=2", ["B"]), ("A=1; B=2", ["B"]), ("A=1;B=2", ["B"]), ("A=1 && export B=2", ["B"]),
        ("A='1' B=2 C=3", ["B", "C"]),
        ("A=$(x) B=2", ["B"]), ("A='1 B=2'", []), ("A=1 # B=2", []), ("A=1 -DB=2", []), ("A=x B =2", []),
        ("A=host=x", []),
    ])
    func seesSettingsBehindSettings(_ line: String, _ names: [String]) throws {
        #expect(try Self.file(line).hidden.map(\.name) == names)
    }

    /// What `up` writes is read back unchanged.
    @Test(arguments: [
        "postgresql://u:p@/d?host=/tmp/x&port=5432", "host=/tmp password='p w\\'$x' user=odd",
        "application_name='a #b'", "a\"b",
        "#a", " a",
        "it's", "", "a b", "C:\\", "`x`", "é",
    ])
    func writesWhatItReads(_ value: String) throws {
        let line = try LedgerSettings.line("A", value)
        let file = try Self.file("# by us\n\(line)\nB=c\n")
        #expect(try file.settings["A"]?.value.get() == value, "\(line)")
        #expect(file.settings.count == 2)
    }

    @Test func writesNoLineFeeds() throws {
        let error = try #require(throws: LedgerSettings.Problem.self) {
            try LedgerSettings.line("A", "host=x\ndbname=secret")
        }
        #expect(error.description.hasPrefix("A: it has a control character") && !error.description.contains("secret"))
    }

    @Test func refusesANameThatIsSetTwice() throws {
        let error = try #require(throws: LedgerSettings.Problem.self) { try Self.file("A=1\nB=2\nexport A=3") }
        #expect(error.description == ".env, line 3: A is already set in line 1: remove one of them")
    }

    @Test func refusesBytesThatAreNotUTF8() throws {
        let error = try #require(throws: LedgerSettings.Problem.self) {
            try EnvironmentFile(path: ".env", bytes: Array("A=1\nB=".utf8) + [0xFF])
        }
        #expect(error.description == ".env, line 2: it is not UTF-8")
    }

    @Test func anUnreadableFileIsNotTakenForAMissingOne() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "settings-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        #expect(try EnvironmentFile(path: directory.appending(path: "none").path) == nil)
        let error = try #require(throws: LedgerSettings.Problem.self) { try EnvironmentFile(path: directory.path) }
        #expect(error.description.hasPrefix("\(directory.path) cannot be read: it is a directory"))
        let link = directory.appending(path: "link").path
        symlink("nowhere", link)
        let dangling = try #require(throws: LedgerSettings.Problem.self) { try EnvironmentFile(path: link) }
        #expect(dangling.description == "\(link) is a symbolic link to something that is not there")
        symlink("/dev/null", directory.appending(path: "off").path)
        #expect(try EnvironmentFile(path: directory.appending(path: "off").path)?.settings.isEmpty == true)
        let large = directory.appending(path: "large")
        try Data(count: 1 << 21).write(to: large)
        #expect(throws: LedgerSettings.Problem.self) { try EnvironmentFile(path: large.path) }
        guard geteuid() != 0 else { return }
        let closed = directory.appending(path: "closed")
        try Data("A=b".utf8).write(to: closed)
        chmod(closed.path, 0)
        #expect(throws: LedgerSettings.Problem.self) { try EnvironmentFile(path: closed.path) }
    }

    /// Password managers mount such a pipe: they write to it a moment after it was opened.
    @Test func aPipeIsReadToItsEnd() async throws {
        let pipe = FileManager.default.temporaryDirectory.appending(path: "settings-\(UUID())").path
        try #require(mkfifo(pipe, 0o600) == 0)
        defer { unlink(pipe) }
        let text = "A=b\n" + String(repeating: "# much more than a pipe holds at a time\n", count: 5000) + "B=c\n"
        for text in [text, ""] {
            let writer = Thread {
                // Opening returns when somebody reads.
                let file = FileHandle(fileDescriptor: open(pipe, O_WRONLY), closeOnDealloc: true)
                try? file.write(contentsOf: Data(text.utf8))
            }
            writer.start()
            guard !text.isEmpty else {
                let error = try #require(throws: LedgerSettings.Problem.self) { try EnvironmentFile(path: pipe) }
                #expect(error.description.contains("nothing came out of it"))
                continue
            }
            let file = try #require(try EnvironmentFile(path: pipe))
            #expect(try file.settings["B"]?.value.get() == "c")
        }
    }

    @Test func aPipeWithoutAWriterIsNotTakenForAnEmptyFile() throws {
        let pipe = FileManager.default.temporaryDirectory.appending(path: "settings-\(UUID())").path
        try #require(mkfifo(pipe, 0o600) == 0)
        defer { unlink(pipe) }
        let error = try #require(throws: LedgerSettings.Problem.self) { try EnvironmentFile(path: pipe) }
        #expect(error.description.contains("nobody has written to it"))
    }
}
