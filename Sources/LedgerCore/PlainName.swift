extension StringProtocol {
    /// Whether it has 1 to `most` of `a–z`, `0–9` and `_`, and begins with a letter. Such names
    /// need no quoting anywhere.
    func isPlainName(most: Int) -> Bool {
        guard let first = utf8.first, UInt8.letters.contains(first), utf8.count <= most else { return false }
        return utf8.allSatisfy { UInt8.letters.contains($0) || $0.isDigit || $0 == UInt8(ascii: "_") }
    }
}

extension UInt8 {
    fileprivate static let letters = UInt8(ascii: "a")...UInt8(ascii: "z")
}
