import Foundation

/// Runs a full-screen program: reads keys and signals, and draws. Everything happens in one thread.
package struct TerminalLoop {
    /// The program: a value with its state, and no knowledge of terminals.
    package protocol Program {
        /// Whether the person has left.
        var isOver: Bool { get }
        mutating func press(_ key: Key)
        mutating func resize(_ size: ScreenSize)
        /// Takes what other threads have brought. Called before each drawing.
        mutating func update() throws
        var lines: [Line] { get }
    }

    /// No more drawings a second than ten: a person sees no more, and a slow line takes no more.
    private static let pause = Duration.milliseconds(100)
    /// Times and rates change although nothing has happened.
    private static let longestPause = Duration.milliseconds(1000)
    /// How long the rest of a key may take, over a slow line.
    private static let keyPatience = Duration.milliseconds(100)

    private let terminal: RawTerminal
    private var screen: Screen
    private var decoder = KeyDecoder()
    /// When bytes came last.
    private var typedAt = ContinuousClock.now

    /// - Parameter hasColors: whether styles may have colours.
    package init(_ terminal: RawTerminal, hasColors: Bool) {
        self.terminal = terminal
        screen = Screen(hasColors: hasColors)
    }

    /// Runs the program in a thread of its own, because it waits for keys in blocking calls.
    package static func run(hasColors: Bool, _ program: @escaping @Sendable (ScreenSize) -> any Program) async throws {
        try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
            Thread.detachNewThread {
                continuation.resume(
                    with: Result {
                        let terminal = try RawTerminal()
                        var program = program(terminal.size)
                        var loop = TerminalLoop(terminal, hasColors: hasColors)
                        try loop.run(&program)
                    })
            }
        }
    }

    private mutating func run(_ program: inout any Program) throws {
        guard TerminalSignals.install() else { throw POSIXError(.EMFILE) }
        defer { TerminalSignals.remove() }
        terminal.enter()
        defer { terminal.leave() }
        var drawn: ContinuousClock.Instant?
        while !program.isOver {
            let left = drawn.map { ContinuousClock.now.duration(to: $0.advanced(by: Self.pause)) } ?? .zero
            if left <= .zero {
                try program.update()
                // What cannot be written now is written anew.
                if !terminal.write(screen.draw(program.lines)) { screen.forget() }
                drawn = .now
            }
            wait(within: left <= .zero ? Self.longestPause : left)
            for number in TerminalSignals.take() { obey(number, &program) }
            guard let keys = readKeys() else { return }
            for key in keys {
                if key == .control("l") { screen.forget() }
                program.press(key)
            }
        }
    }

    /// Waits for keys, signals, or another thread.
    private func wait(within limit: Duration) {
        var descriptors = [
            pollfd(fd: terminal.descriptor, events: Int16(POLLIN), revents: 0),
            pollfd(fd: TerminalSignals.descriptor, events: Int16(POLLIN), revents: 0),
        ]
        let limit = decoder.isWaiting ? min(limit, Self.keyPatience) : limit
        _ = poll(&descriptors, 2, Int32((limit / .milliseconds(1)).rounded(.up)))
    }

    /// The keys that were pressed; `nil` if the terminal is gone.
    private mutating func readKeys() -> [Key]? {
        guard let bytes = terminal.read() else { return nil }
        if !bytes.isEmpty {
            typedAt = .now
            return decoder.add(bytes)
        }
        return decoder.isWaiting && typedAt.duration(to: .now) >= Self.keyPatience ? decoder.flush() : []
    }

    private mutating func obey(_ number: Int32, _ program: inout any Program) {
        switch number {
        case SIGWINCH:
            screen.forget()
            program.resize(terminal.size)
        case SIGTSTP:
            terminal.leave()
            TerminalSignals.obey(number)
            takeAgain(&program)
        // It was stopped by a signal that cannot be handled, and the shell has used the terminal.
        case SIGCONT: takeAgain(&program)
        case let number where TerminalSignals.ending.contains(number):
            terminal.leave()
            TerminalSignals.obey(number)
        default: break
        }
    }

    private mutating func takeAgain(_ program: inout any Program) {
        terminal.enter()
        screen.forget()
        program.resize(terminal.size)
    }
}
