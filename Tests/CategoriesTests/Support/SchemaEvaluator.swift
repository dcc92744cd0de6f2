import Foundation
import LedgerCore

@testable import Categories

/// Says whether a value has a schema, by the text of the specification: it reads the schema's JSON
/// itself, and has nothing in common with the compiler but the tree of JSON.
struct SchemaEvaluator {
    /// What each pattern of the tests means. Postgres's expressions are not those of Swift.
    let patterns: [String: @Sendable (String) -> Bool]

    func isValid(_ value: JSONTree, _ schema: JSONTree) -> Bool {
        guard case .object(let keywords) = schema else { return false }
        return keywords.allSatisfy { holds($0.name.text, $0.value, value, schema) }
    }

    private func holds(_ keyword: String, _ argument: JSONTree, _ value: JSONTree, _ schema: JSONTree) -> Bool {
        switch keyword {
        case "type": return list(argument).contains { isOf($0, value) }
        case "enum": return list(argument).contains { same($0, value) }
        case "const": return same(argument, value)
        case "anyOf": return list(argument).contains { isValid(value, $0) }
        case "required":
            guard case .object(let members) = value else { return true }
            return list(argument).allSatisfy { key in members.contains { .string($0.name) == key } }
        case "properties":
            guard case .object(let members) = value, case .object(let properties) = argument else { return true }
            return members.allSatisfy { member in
                properties.first { $0.name == member.name }.map { isValid(member.value, $0.value) } ?? true
            }
        case "additionalProperties":
            guard case .object(let members) = value, argument == .bool(false) else { return true }
            guard case .object(let properties)? = schema["properties"] else { return members.isEmpty }
            return members.allSatisfy { member in properties.contains { $0.name == member.name } }
        case "items":
            guard case .array(let elements) = value else { return true }
            return elements.allSatisfy { isValid($0, argument) }
        default: return isWithin(keyword, argument, value)
        }
    }

    /// The keywords with a limit.
    private func isWithin(_ keyword: String, _ argument: JSONTree, _ value: JSONTree) -> Bool {
        switch (keyword, value) {
        case ("minLength", .string(let text)): text.text.unicodeScalars.count >= Int(decimal(argument)!)
        case ("maxLength", .string(let text)): text.text.unicodeScalars.count <= Int(decimal(argument)!)
        case ("pattern", .string(let text)): patterns[self.text(argument)]!(text.text)
        case ("format", .string(let text)): Formats.isValid(text.text, self.text(argument))
        case ("minimum", .number): decimal(value)! >= decimal(argument)!
        case ("maximum", .number): decimal(value)! <= decimal(argument)!
        case ("minItems", .array(let elements)): elements.count >= Int(decimal(argument)!)
        case ("maxItems", .array(let elements)): elements.count <= Int(decimal(argument)!)
        default: true
        }
    }

    private func isOf(_ type: JSONTree, _ value: JSONTree) -> Bool {
        switch (text(type), value) {
        case ("object", .object), ("array", .array), ("string", .string), ("number", .number), ("boolean", .bool),
            ("null", .null):
            true
        case ("integer", .number): decimal(value)! == decimal(value)!.rounded()
        default: false
        }
    }

    private func same(_ one: JSONTree, _ other: JSONTree) -> Bool {
        switch (one, other) {
        case (.number, .number): decimal(one) == decimal(other)
        case (.array(let one), .array(let other)): one.count == other.count && zip(one, other).allSatisfy(same)
        case (.object(let one), .object(let other)):
            one.count == other.count
                && one.allSatisfy { member in
                    other.contains { $0.name == member.name && same($0.value, member.value) }
                }
        default: one == other
        }
    }

    private func list(_ value: JSONTree) -> [JSONTree] {
        if case .array(let elements) = value { elements } else { [value] }
    }

    private func text(_ value: JSONTree) -> String { if case .string(let text) = value { text.text } else { "" } }

    /// The numbers of the tests have few digits, which a double holds.
    private func decimal(_ value: JSONTree) -> Double? {
        if case .number(let number) = value { Double(number.description) } else { nil }
    }
}

/// The formats, character by character.
enum Formats {
    static func isValid(_ text: String, _ format: String) -> Bool {
        let scalars = Array(text.unicodeScalars)
        return switch format {
        case "date": isDate(scalars)
        case "date-time": isDateTime(scalars)
        case "uuid": isUUID(scalars)
        case "email": isEmail(scalars)
        default: isURI(scalars)
        }
    }

    private static func number(_ scalars: ArraySlice<Unicode.Scalar>) -> Int? {
        guard !scalars.isEmpty, scalars.allSatisfy({ ("0"..."9").contains($0) }) else { return nil }
        return scalars.reduce(0) { $0 * 10 + Int($1.value - 48) }
    }

    private static func isDate(_ scalars: [Unicode.Scalar]) -> Bool {
        guard scalars.count == 10, scalars[4] == "-", scalars[7] == "-", let year = number(scalars[..<4]),
            let month = number(scalars[5..<7]), let day = number(scalars[8...])
        else { return false }
        let isLeap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
        let days = [31, isLeap ? 29 : 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        return year > 0 && (1...12).contains(month) && (1...days[month - 1]).contains(day)
    }

    private static func isDateTime(_ scalars: [Unicode.Scalar]) -> Bool {
        guard scalars.count >= 20, isDate(Array(scalars[..<10])), ["T", "t"].contains(scalars[10]),
            scalars[13] == ":", scalars[16] == ":", let hour = number(scalars[11..<13]),
            let minute = number(scalars[14..<16]), let second = number(scalars[17..<19])
        else { return false }
        var rest = scalars[19...]
        if rest.first == "." {
            let digits = rest.dropFirst().prefix { ("0"..."9").contains($0) }
            guard !digits.isEmpty else { return false }
            rest = rest.dropFirst(digits.count + 1)
        }
        var offset = 0
        if rest.count == 6, let sign = rest.first, ["+", "-"].contains(sign) {
            let zone = Array(rest)
            guard zone[3] == ":", let hours = number(zone[1..<3]), let minutes = number(zone[4...]), hours < 24,
                minutes < 60
            else { return false }
            offset = (hours * 60 + minutes) * (sign == "-" ? -1 : 1)
        } else if rest.count != 1 || !["Z", "z"].contains(rest.first) {
            return false
        }
        guard hour < 24, minute < 60 else { return false }
        return second < 60 || second == 60 && (hour * 60 + minute - offset + 2880) % 1440 == 1439
    }

    private static func isUUID(_ scalars: [Unicode.Scalar]) -> Bool {
        scalars.count == 36
            && scalars.enumerated().allSatisfy { place, scalar in
                [8, 13, 18, 23].contains(place) ? scalar == "-" : scalar.isASCII && Character(scalar).isHexDigit
            }
    }

    private static func isSpaceOrControl(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || scalar.properties.generalCategory == .control
    }

    private static func isEmail(_ scalars: [Unicode.Scalar]) -> Bool {
        scalars.count <= 320 && scalars.count { $0 == "@" } == 1 && scalars.first != "@" && scalars.last != "@"
            && !scalars.contains(where: isSpaceOrControl)
    }

    private static func isURI(_ scalars: [Unicode.Scalar]) -> Bool {
        guard let colon = scalars.firstIndex(of: ":"), colon > 0, colon + 1 < scalars.count else { return false }
        let scheme = scalars[..<colon]
        return scheme.allSatisfy {
            $0.isASCII && ($0.properties.isAlphabetic || "0123456789+.-".unicodeScalars.contains($0))
        }
            && scheme[0].properties.isAlphabetic && !scalars.contains(where: isSpaceOrControl)
    }
}
