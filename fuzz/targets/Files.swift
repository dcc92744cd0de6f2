import LedgerCore

/// Migrations.
func fuzzMigrations(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    let name = String(text.prefix { $0 != "\n" })
    guard let file = try? MigrationFile(name: name, text: text) else { return }
    expect(
        file.version.utf8.allSatisfy { (0x30...0x39).contains($0) } && !file.version.isEmpty,
        "no number: \(file.version)")
    expect(!file.up.contains("\n-- migrate:") && !file.down.contains("\n-- migrate:"), "a part within a part")
}

/// The first and the last line of a log in a file.
func fuzzLog(_ bytes: [UInt8]) {
    if let header = try? LogFile.header(bytes, of: "the file") {
        expect(
            header.from > 0 && header.to - header.from + 1 >= 0 && header.to < .max, "no stretch of a log: \(header)")
    }
    _ = try? LogFile.footer(bytes[...], of: "the file")
}

/// The SQL of projections, and Postgres's tree of it.
func fuzzSQL(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    let sql = SQLText("apply.sql", text)
    for place in [-1, 0, bytes.count / 2, bytes.count, bytes.count + 1] {
        _ = sql.token(at: place)
        _ = sql.place(at: place)
    }
    _ = (sql.firstPlace(of: "from"), sql.firstPlace(of: "a", behind: "from"))
    _ = try? NodeTree(parsing: text)
}
