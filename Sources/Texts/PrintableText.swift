extension Unicode.Scalar {
    /// Whether a terminal interprets it instead of showing it: control characters (also beyond
    /// ASCII), line separators, and characters that change the direction of the text after them.
    var isObeyed: Bool {
        switch value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028...0x2029, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}

extension String {
    /// The text, safe to show on one line: characters that a terminal would interpret become
    /// U+FFFD.
    public var printable: String { replacingObeyed { _ in false } }

    /// The same for a text of several lines: line feeds stay.
    public var printableLines: String { replacingObeyed { $0 == "\n" } }

    private func replacingObeyed(but isKept: (Unicode.Scalar) -> Bool) -> String {
        func isBad(_ scalar: Unicode.Scalar) -> Bool { scalar.isObeyed && !isKept(scalar) }
        // Nearly all texts are fine.
        guard unicodeScalars.contains(where: isBad) else { return self }
        return String(UnicodeScalarView(unicodeScalars.map { isBad($0) ? "\u{FFFD}" : $0 }))
    }

    /// A document for programs (JSON, CSV, a proof) that is shown on a terminal. Characters that a
    /// terminal would interpret become JSON escapes, which mean the same in JSON.
    public var printableDocument: String {
        guard unicodeScalars.contains(where: { $0.isObeyed && $0 != "\n" }) else { return self }
        var text = UnicodeScalarView()
        for (index, scalar) in zip(unicodeScalars.indices, unicodeScalars) {
            let next = unicodeScalars.index(after: index)
            let endsLine = scalar == "\r" && next < unicodeScalars.endIndex && unicodeScalars[next] == "\n"
            if !scalar.isObeyed || scalar == "\n" || scalar == "\t" || endsLine {
                text.append(scalar)
            } else {
                let digits = String(scalar.value, radix: 16)
                text.append(
                    contentsOf: ("\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits).unicodeScalars)
            }
        }
        return String(text)
    }
}
