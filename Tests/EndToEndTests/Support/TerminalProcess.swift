import Foundation
import LedgerTesting

@testable import EmbeddedServices

/// A program in a terminal: a shell with job control starts it in the foreground. The test types,
/// sees the screen, and resizes it.
actor TerminalProcess {
    private let descriptor: Int32
    private let shell: ChildProcess
    private(set) var screen: TerminalScreen

    /// Shows the modes of the terminal before and after, and how the program ended. A program that
    /// was suspended is continued after a line of input. The shell is one that does not end with a
    /// program that Ctrl-C has ended, as bash does.
    private static let script = """
        exec >/dev/tty 2>&1
        set -m
        trap : INT
        modes() { stty -g | cksum | cut -d " " -f 1; }
        echo "before $(modes)"
        "$@"; code=$?
        while [ $code = 148 ]; do
          echo "suspended $(modes)"
          read line
          fg >/dev/null; code=$?
        done
        echo "ended with $code $(modes)"
        read line
        """

    /// TIOCSPTLCK and TIOCGPTN, which Swift does not import: what unlockpt(3) and ptsname(3) do.
    private static let (unlock, getNumber): (UInt, UInt) = (0x4004_5431, 0x8004_5430)

    /// - Parameter arguments: those of `jobledger`.
    init(
        _ arguments: [String], environment: [String: String], columns: Int = 80, rows: Int = 24  // plain: variables
    ) async throws {
        descriptor = open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)
        var (unlocked, number): (Int32, UInt32) = (0, 0)
        guard descriptor >= 0, ioctl(descriptor, Self.unlock, &unlocked) == 0,
            ioctl(descriptor, Self.getNumber, &number) == 0
        else { throw ProgramTrouble(description: "no terminal: \(String(cString: strerror(errno)))") }
        Self.resize(descriptor, columns, rows)
        screen = TerminalScreen(columns: columns, rows: rows)
        let files = try makeDirectory("terminal")
        var environment = environment
        environment["PATH"] = Programs.path
        environment["TERM"] = environment["TERM"] ?? "xterm"
        environment["SWIFT_BACKTRACE"] = "enable=no"
        // When the test process ends, so does the terminal, and SIGHUP ends the shell and the
        // program.
        shell = try await ChildProcess.start(
            [
                try Programs.find("setsid", package: "util-linux"), "--ctty", "--wait",
                try Programs.find("dash", package: "dash"), "-c", Self.script, "shell",
                Program.jobledger.path,
            ] + arguments,
            environment: environment, input: "/dev/pts/\(number)", log: files.appending(path: "log").path)
    }

    private static func resize(_ descriptor: Int32, _ columns: Int, _ rows: Int) {
        var size = winsize(ws_row: UInt16(rows), ws_col: UInt16(columns), ws_xpixel: 0, ws_ypixel: 0)
        _ = ioctl(descriptor, UInt(TIOCSWINSZ), &size)
    }

    func resize(columns: Int, rows: Int) {
        read()
        screen.resize(columns: columns, rows: rows)
        Self.resize(descriptor, columns, rows)
    }

    func type(_ text: String) {
        let bytes = Array(text.utf8)
        _ = write(descriptor, bytes, bytes.count)
    }

    /// Sends a signal to what runs in the foreground.
    func signal(_ number: Int32) { _ = killpg(tcgetpgrp(descriptor), number) }

    private func read() {
        var bytes = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Foundation.read(descriptor, &bytes, bytes.count)
            guard count > 0 else { return }
            screen.write(Array(bytes.prefix(count)))
        }
    }

    /// Waits until the screen is as it should be.
    /// - Returns: its lines.
    @discardableResult
    func shows(
        _ question: String, within limit: Duration = .seconds(60), _ holds: @Sendable (TerminalScreen) -> Bool
    ) async throws -> [String] {
        let deadline = ContinuousClock.now.advanced(by: limit)
        while true {
            read()
            if holds(screen) { return screen.lines }
            guard ContinuousClock.now < deadline, !shell.hasExited else {
                throw ProgramTrouble(
                    description: "the terminal does not show \(question), but:\n\(screen.lines.joined(separator: "\n"))"
                )
            }
            try await Task.sleep(for: .milliseconds(10))
        }
    }

    @discardableResult
    func shows(_ text: String) async throws -> [String] {
        try await shows(text) { screen in screen.lines.contains { $0.contains(text) } }
    }

    /// Waits until the program has ended, and checks that the terminal is as it was.
    /// - Returns: the exit code; after a signal 128 and its number.
    func ended() async throws -> Int32 {
        let lines = try await shows("the end") { screen in screen.lines.contains { $0.hasPrefix("ended with ") } }
        let words = lines.first { $0.hasPrefix("ended with ") }!.split(separator: " ")
        let before = lines.first { $0.hasPrefix("before ") }?.split(separator: " ")
        guard let before, words.count == 4, before.last == words[3], !screen.isAlternate, screen.showsCaret,
            screen.wraps
        else { throw ProgramTrouble(description: "the terminal is not as it was:\n\(lines.joined(separator: "\n"))") }
        return Int32(words[2]) ?? -1
    }

    func close() async {
        shell.signal(SIGKILL)
        Foundation.close(descriptor)
        _ = await shell.exit()
    }
}

extension UserLedger {
    /// Runs `jobledger` in a terminal.
    func inTerminal(
        _ arguments: String..., adding: [String: String] = [:], columns: Int = 80, rows: Int = 24,  // plain: variables
        _ body: (TerminalProcess) async throws -> Void
    ) async throws {
        let terminal = try await TerminalProcess(
            arguments, environment: environment.merging(adding) { $1 }, columns: columns, rows: rows)
        do {
            try await body(terminal)
        } catch {
            await terminal.close()
            throw error
        }
        await terminal.close()
    }
}
