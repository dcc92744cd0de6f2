extension Unicode.Scalar {
    /// Whether a terminal obeys it rather than shows it: control characters, those beyond ASCII
    /// too, line separators, and what turns the order of the text behind it.
    var isObeyed: Bool {
        switch value {
        case 0..<0x20, 0x7F..<0xA0, 0x2028...0x2029, 0x202A...0x202E, 0x2066...0x2069: true
        default: false
        }
    }
}

extension String {
    /// The text, safe to show on one line: what a terminal would obey is replaced by U+FFFD.
    public var printable: String { replacingObeyed { _ in false } }

    /// The same for a text of several lines, whose line feeds stay.
    public var printableLines: String { replacingObeyed { $0 == "\n" } }

    private func replacingObeyed(but isKept: (Unicode.Scalar) -> Bool) -> String {
        func isBad(_ scalar: Unicode.Scalar) -> Bool { scalar.isObeyed && !isKept(scalar) }
        // Nearly all texts are fine.
        guard unicodeScalars.contains(where: isBad) else { return self }
        return String(UnicodeScalarView(unicodeScalars.map { isBad($0) ? "\u{FFFD}" : $0 }))
    }

    /// A document for programs that somebody has sent to a terminal: JSON, CSV, a proof. What a
    /// terminal would obey is written as JSON escapes it, which in JSON says the same.
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
