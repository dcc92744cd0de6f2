import Texts

/// Makes keys of the bytes that a terminal sends. A plain value, without terminal or clock.
///
/// A read may end within a key: a function key is several bytes, which begin with that of Escape.
/// So the decoder keeps what is not complete. If nothing follows within a moment, ``flush()`` says
/// what it was: Escape alone.
package struct KeyDecoder: Sendable {
    private var pending: [UInt8] = []

    /// No known key is longer. A longer one is noise, and its beginning is dropped.
    private static let longest = 32
    private static let escape: UInt8 = 0x1B

    package init() {}

    /// How many bytes are kept.
    var pendingCount: Int { pending.count }

    /// Whether the bytes so far may be the beginning of a longer key.
    package var isWaiting: Bool { !pending.isEmpty }

    /// The keys that are complete with these bytes.
    package mutating func add(_ bytes: some Sequence<UInt8>) -> [Key] {
        pending += bytes
        var keys: [Key] = []
        var rest = pending[...]
        while !rest.isEmpty {
            guard let (key, length) = Self.first(of: rest) else { break }
            if let key { keys.append(key) }
            rest = rest.dropFirst(length)
        }
        pending = Array(rest)
        return keys
    }

    /// The keys of what is not complete, once nothing more comes.
    package mutating func flush() -> [Key] {
        defer { pending = [] }
        guard pending.first == Self.escape else { return [] }
        // Somebody typed Escape, and perhaps a character right after it.
        return [.escape] + pending.dropFirst().compactMap(Self.asciiKey)
    }

    /// The first key, if any, and how many bytes it takes; `nil` if more bytes must come.
    private static func first(of bytes: ArraySlice<UInt8>) -> (key: Key?, length: Int)? {
        let first = bytes.first!
        guard first == escape else { return first < 0x80 ? (asciiKey(first), 1) : scalar(bytes) }
        guard let second = bytes.dropFirst().first else { return nil }
        switch second {
        case UInt8(ascii: "["): return controlString(bytes)
        case UInt8(ascii: "O"):
            guard let final = bytes.dropFirst(2).first else { return nil }
            return final == escape ? (nil, 2) : (functionKey(final, []), 3)
        // Escape, and what was typed right after it; the second is looked at next.
        default: return (.escape, 1)
        }
    }

    private static func asciiKey(_ byte: UInt8) -> Key? {
        switch byte {
        case 0x0D, 0x0A: .enter
        case 0x7F, 0x08: .backspace
        case 0x09: .tab
        case escape: .escape
        case 0x01...0x1A: .control(Unicode.Scalar(byte + 0x60))
        case 0x20...0x7E: .text(Unicode.Scalar(byte))
        default: nil
        }
    }

    // MARK: Function keys

    /// `ESC [`, parameters, intermediate bytes, and a last byte that says which key it is.
    private static func controlString(_ bytes: ArraySlice<UInt8>) -> (key: Key?, length: Int)? {
        let body = bytes.dropFirst(2)
        for (index, byte) in zip(body.indices, body) {
            let length = index - bytes.startIndex + 1
            switch byte {
            case 0x20...0x3F:
                if length >= longest { return (nil, length) }
            case 0x40...0x7E:
                let parameters = body[..<index].split(separator: UInt8(ascii: ";"), omittingEmptySubsequences: false)
                return (functionKey(byte, parameters.map(number)), length)
            // It was cut off: the byte begins something else.
            default: return (nil, length - 1)
            }
        }
        return nil
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int { Int(String(decoding: digits, as: UTF8.self)) ?? 0 }

    /// - Parameter parameters: the second one says which of Shift, Alt and Control were held, which
    ///   changes nothing here.
    private static func functionKey(_ final: UInt8, _ parameters: [Int]) -> Key? {
        switch Unicode.Scalar(final) {
        case "A": return .up
        case "B": return .down
        case "C": return .right
        case "D": return .left
        case "H": return .home
        case "F": return .end
        case "M" where parameters.isEmpty: return .enter  // that of the number pad
        case "~": break
        default: return nil
        }
        return switch parameters.first {
        case 1, 7: .home
        case 4, 8: .end
        case 3: .delete
        case 5: .pageUp
        case 6: .pageDown
        default: nil
        }
    }

    // MARK: Characters beyond ASCII

    private static func scalar(_ bytes: ArraySlice<UInt8>) -> (key: Key?, length: Int)? {
        let length: Int
        switch bytes.first! {
        case 0xC2...0xDF: length = 2
        case 0xE0...0xEF: length = 3
        case 0xF0...0xF4: length = 4
        default: return (nil, 1)
        }
        let part = bytes.prefix(length)
        // A byte that cannot follow ends it: what came before is dropped.
        if let wrong = part.dropFirst().firstIndex(where: { $0 & 0xC0 != 0x80 }) {
            return (nil, wrong - bytes.startIndex)
        }
        guard part.count == length else { return nil }
        guard let text = String(validating: part, as: UTF8.self), let scalar = text.unicodeScalars.first else {
            return (nil, length)
        }
        // C1 controls, and characters that turn the direction of a line, are no text.
        return (text.printable == text ? .text(scalar) : nil, length)
    }
}
