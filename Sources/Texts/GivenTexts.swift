import Glibc

/// The arguments and environment variables that a program is started with. Swift's own
/// `CommandLine` and Foundation's environment replace bytes that are not UTF-8 by U+FFFD, so two
/// different names could become the same one and be stored. Here such bytes are refused.
package enum GivenTexts {
    /// An argument or a variable is not UTF-8.
    package struct NotText: Error, Sendable, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// - Throws: ``NotText`` if an argument is not UTF-8. The error has its number and its first
    ///   bytes.
    package static func checkArguments() throws(NotText) {
        // The process's own vector, which nothing changes: argc pointers, each to bytes that end
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

    /// - Parameter names: which variables to check.
    /// - Throws: ``NotText`` if the value of a variable is not UTF-8. The error does not show the
    ///   value, which may be a password.
    package static func checkEnvironment(of names: (ExactText) -> Bool) throws(NotText) {
        // Our programs never change their environment. Each entry is `NAME=VALUE` and ends with a
        // zero.
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

    /// The first bytes, with those that are not printable ASCII as a shell writes them.
    private static func spelled(_ bytes: [UInt8]) -> String {
        let shown = bytes.prefix(60).map { byte in
            if (0x20..<0x7F).contains(byte) { return String(Unicode.Scalar(byte)) }
            let digits = String(byte, radix: 16)
            return "\\x" + (digits.utf8.count == 1 ? "0" : "") + digits
        }
        return shown.joined() + (bytes.count > 60 ? "…" : "")
    }
}
