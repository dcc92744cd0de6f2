/// The error type of the settings parser. Its own file would need all settings.
enum LedgerSettings {
    struct Problem: Error {
        let description: String
    }
}

/// Lines of `.env`.
func fuzzSettings(_ bytes: [UInt8]) {
    let line = bytes.prefix { $0 != 0x0A }
    guard let (name, rest) = try? EnvironmentLine.split(line) else { return }
    expect(!name.isEmpty && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7F }, "a name that is none: \(name)")
    expect(!((try? EnvironmentLine.value(rest)) ?? "").utf8.contains(0), "U+0000")
}
