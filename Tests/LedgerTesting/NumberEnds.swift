/// Texts to try where a number is expected: the limits of 8, 16, 32 and 64 bits, the numbers next
/// to them, and texts that only look like numbers.
package enum NumberEnds {
    package static let numbers: [String] =
        [8, 16, 32, 62, 63, 64].flatMap { bits -> [String] in
            let end = bits == 64 ? UInt64.max : UInt64(1) << bits - 1
            // The largest number, and its neighbours. The next one does not fit into 64 bits.
            let next = bits == 64 ? "18446744073709551616" : "\(end + 1)"
            return ["\(end - 1)", "\(end)", next, "-\(end)", "-\(next)"]
        } + [
            "0", "-0", "1", "-1", "127", "128", "-129", "99999999999999999999999999999999",
            "00000000000000000000000000000001",
        ]

    package static let noNumbers = [
        "", " ", "+", "-", "--1", "+5", " 5", "5 ", "1e3", "1.5", "0x10", "0b1", "1_000", "1,000", "NaN", "nan", "inf",
        "-inf", "Infinity", "\u{0663}", "\u{FF13}", "\u{0967}\u{0966}", "½", "²", "5\u{0301}", "\u{200B}5", "null",
        "true", "[]", "{}", "'", "\"", "%", "\\",
    ]

    package static let all = numbers + noNumbers
}
