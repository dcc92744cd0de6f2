// A relay writes a few hundred bytes for each event, piece by piece, so the cost of a piece beyond
// copying it matters.

extension [UInt8] {
    mutating func append(literal: StaticString) {
        // The bytes of a literal of several characters are part of the program, so they are valid
        // for as long as it runs.
        append(contentsOf: UnsafeBufferPointer(start: literal.utf8Start, count: literal.utf8CodeUnitCount))
    }

    mutating func append(text: String) {
        // In one piece if the string stores UTF-8, as all strings do that no foreign framework
        // made.
        if text.utf8.withContiguousStorageIfAvailable({ append(contentsOf: $0) }) == nil {
            append(contentsOf: text.utf8)
        }
    }

    mutating func append(_ bytes: Span<UInt8>) {
        // Valid within the closure, which copies.
        bytes.withUnsafeBufferPointer { append(contentsOf: $0) }
    }

    mutating func append(number: Int64) {
        append(addingCapacity: 20) { bytes in
            if number < 0 { bytes.append(UInt8(ascii: "-")) }
            bytes.append(number: number.magnitude)
        }
    }
}

extension OutputSpan<UInt8> {
    mutating func append(number: UInt64) {
        if number >= 10 { append(number: number / 10) }
        append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
    }

    /// - Parameter number: from 0 to 99.
    mutating func append(twoDigits number: Int64) {
        append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number / 10))
        append(UInt8(ascii: "0") + UInt8(truncatingIfNeeded: number % 10))
    }

    /// Two hexadecimal digits, in lower case.
    mutating func append(hexDigitsOf byte: UInt8) {
        append(hexDigit: byte >> 4)
        append(hexDigit: byte & 0x0F)
    }

    private mutating func append(hexDigit digit: UInt8) {
        append(digit < 10 ? UInt8(ascii: "0") + digit : UInt8(ascii: "a") - 10 + digit)
    }
}
