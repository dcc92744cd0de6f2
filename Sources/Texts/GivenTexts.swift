import Glibc

/// What whoever starts a program gives it, as texts. Swift's own `CommandLine` and Foundation's
/// environment put U+FFFD in the place of bytes that are none: two names would become one, and be
/// stored. Here they are refused.
public enum GivenTexts {
    /// Some bytes that are not UTF-8, and where they were given.
    public struct NotText: Error, Sendable, Equatable, CustomStringConvertible {
        public let description: String
    }

    /// - Throws: ``NotText`` where an argument is not UTF-8; it says which, and what it begins
    ///   with.
    public static func checkArguments() throws(NotText) {
        // The process's own vector, which nobody changes: argc pointers, each to bytes that end
        // with a zero.
        for number in 1..<max(1, Int(CommandLine.argc)) {
            guard let argument = CommandLine.unsafeArgv[number] else { return }
            try check(
                argument: UnsafeBufferPointer(start: argument, count: strlen(argument)).map { UInt8(bitPattern: $0) },
                number)
        }
    }

    static func check(argument bytes: [UInt8], _ number: Int) throws(NotText) {
        guard String(validating: bytes, as: UTF8.self) == nil else { return }
        throw NotText(
            description: """
                argument \(number) is not UTF-8, and nothing was done: '\(spelled(bytes))'. Give it \
                in UTF-8, as a terminal in a UTF-8 locale does; in a script an é is $'\\xc3\\xa9'
                """)
    }

    /// - Parameter names: of the variables that are looked at.
    /// - Throws: ``NotText`` where a variable has a value that is not UTF-8; it does not show the
    ///   value, which may be a password.
    public static func checkEnvironment(of names: (ExactText) -> Bool) throws(NotText) {
        // Nobody changes the environment of a program of ours; each entry is `NAME=VALUE` and ends
        // with a zero.
        var entry = environ
        while let bytes = entry.pointee {
            defer { entry += 1 }
            try check(
                variable: UnsafeBufferPointer(start: bytes, count: strlen(bytes)).map { UInt8(bitPattern: $0) }, names)
        }
    }

    static func check(variable bytes: [UInt8], _ names: (ExactText) -> Bool) throws(NotText) {
        guard String(validating: bytes, as: UTF8.self) == nil,
            let name = String(validating: bytes.prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self),
            names(ExactText(name))
        else { return }
        throw NotText(description: "\(name) is not UTF-8: write its value in UTF-8, or in an address each byte as %XX")
    }

    /// The beginning of the bytes, those that are no plain characters as a shell spells them.
    private static func spelled(_ bytes: [UInt8]) -> String {
        let shown = bytes.prefix(60).map { byte in
            if (0x20..<0x7F).contains(byte) { return String(Unicode.Scalar(byte)) }
            let digits = String(byte, radix: 16)
            return "\\x" + (digits.utf8.count == 1 ? "0" : "") + digits
        }
        return shown.joined() + (bytes.count > 60 ? "…" : "")
    }
}
