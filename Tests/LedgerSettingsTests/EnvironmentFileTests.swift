import Foundation
import Testing

@testable import LedgerSettings

/// No setting that was written is passed over: a line is read as docker compose and shells read it, or refused by its number.
@Suite struct EnvironmentFileTests {
    private static func file(_ text: String) throws -> EnvironmentFile {
        try EnvironmentFile(path: ".env", bytes: Array(text.utf8))
    }

    @Test(arguments: [
        ("A=b", "b"), ("A=", ""), ("A=  ", ""), ("A= # nothing", ""), ("  A=b", "b"), ("\tA=b \t", "b"), ("A=b c", "b c"),
        ("export A=b", "b"), ("export\tA=b", "b"), ("A=b # said", "b"), ("A=b\t# said", "b"), ("A=b#c", "b#c"), ("A=b=c", "b=c"),
        ("A='b # c'", "b # c"), ("A='b $c \\n \"d\"'", "b $c \\n \"d\""), ("A='' # none", ""), ("A=\"b c\"  # said", "b c"),
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
        ("A.B=c", "not NAME=value"), ("=b", "not NAME=value"), ("A =b", "before the ="), ("export A = b", "before the ="),
        ("exportA b=c", "not NAME=value"), ("A\u{A0}=b", "not NAME=value"), ("\u{FEFF}\u{FEFF}A=b", "not NAME=value"),
        ("A=b\u{0}", "zero byte"), ("A=b\rB=c", "control character"), ("A=b\u{1B}[31m", "control character"),
    ])
    func refusesTheFile(_ line: String, because part: String) throws {
        let error = try #require(throws: LedgerSettings.Problem.self) { try Self.file("# one\n\n" + line + "\nC=d\n") }
        #expect(error.description.hasPrefix(".env, line 3: ") && error.description.contains(part), "\(error)")
    }

    @Test(arguments: [
        ("A= b", "behind the ="), ("A=#b", "begins with #"), ("A=pa$$word", "single quotes"), ("A=$HOME", "single quotes"),
        ("A=a\\b", "single quotes"), ("A=a'b'", "in double quotes"), ("A=a\"b", "single quotes"), ("A=`x`", "single quotes"),
        ("A='secret", "not closed"), ("A=\"secret", "not closed"), ("A='secret' x", "behind the closing quote"),
        ("A='secret'#x", "behind the closing quote"), ("A=\"$secret\"", "write \\ before"),
        ("A=\"secret\\n\"", "write \\ before"),
    ])
    func refusesAValue(_ line: String, because part: String) throws {
        let file = try Self.file("B=c\r\n" + line)
        let error = try #require(throws: LedgerSettings.Problem.self) { try file.settings["A"]?.value.get() }
        #expect(error.description.hasPrefix(".env, line 2: A: ") && error.description.contains(part), "\(error)")
        #expect(!error.description.contains("secret") && !error.description.contains("word"), "a value may be a password")
        // What other programs have here is theirs.
        #expect(try file.settings["B"]?.value.get() == "c")
    }

    @Test func refusesWhatIsThereTwice() throws {
        let error = try #require(throws: LedgerSettings.Problem.self) { try Self.file("A=1\nB=2\nexport A=3") }
        #expect(error.description == ".env, line 3: A is set in line 1 already: remove one of them")
    }

    @Test func refusesWhatIsNoText() throws {
        let error = try #require(throws: LedgerSettings.Problem.self) {
            try EnvironmentFile(path: ".env", bytes: Array("A=1\nB=".utf8) + [0xFF])
        }
        #expect(error.description == ".env, line 2: it is not UTF-8")
    }

    @Test func aFileThatCannotBeReadIsNoMissingFile() throws {
        let directory = FileManager.default.temporaryDirectory.appending(path: "settings-\(UUID())")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        #expect(try EnvironmentFile(path: directory.appending(path: "none").path) == nil)
        let error = try #require(throws: LedgerSettings.Problem.self) { try EnvironmentFile(path: directory.path) }
        #expect(error.description.hasPrefix("\(directory.path) cannot be read: "))
        let large = directory.appending(path: "large")
        try Data(count: 1 << 21).write(to: large)
        #expect(throws: LedgerSettings.Problem.self) { try EnvironmentFile(path: large.path) }
        guard geteuid() != 0 else { return }
        let closed = directory.appending(path: "closed")
        try Data("A=b".utf8).write(to: closed)
        chmod(closed.path, 0)
        #expect(throws: LedgerSettings.Problem.self) { try EnvironmentFile(path: closed.path) }
    }
}
