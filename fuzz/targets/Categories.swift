import LedgerCore

/// The definition of a category: it is read, or refused with its place. What is read has one
/// spelling, which is read as the same definition, and compiles to the same rules.
func fuzzCategories(_ bytes: [UInt8]) {
    func read(_ text: String) -> CategoryDefinition? {
        try? CategoryDefinition(folder: "c", files: ["category.json": text])
    }
    guard let definition = read(String(decoding: bytes, as: UTF8.self)) else { return }
    guard let again = read(definition.canonical) else { return expect(false, "cannot be read again") }
    expect(again.canonical == definition.canonical, "two spellings: \(again.canonical)")
    expect(!definition.checkBody.utf8.contains(0), "U+0000")
    let found = CategoryConsistency([definition]).problems.count
    expect(CategoryConsistency([again]).problems.count == found, "other contradictions")
}
