import LedgerCore

extension DataSchema {
    /// Why no value can have this schema, or why some of its words have no meaning, with the place.
    /// Schemas within it are left out.
    var contradictions: [(JSONPointer, String)] { limits + given + keys }

    private var limits: [(JSONPointer, String)] {
        var found: [(JSONPointer, String)] = []
        if let least = minLength, let most = maxLength, least > most {
            found.append((pointer / "minLength", "no text has at least \(least) and at most \(most) characters"))
        }
        if let least = minItems, let most = maxItems, least > most {
            found.append((pointer / "minItems", "no array has at least \(least) and at most \(most) elements"))
        }
        if let minimum, let maximum, minimum > maximum {
            found.append((pointer / "minimum", "no number is at least \(minimum) and at most \(maximum)"))
        }
        if let format {
            let lengths = format.lengths
            if let most = maxLength, most < lengths.lowerBound {
                found.append(
                    (
                        pointer / "maxLength",
                        "\(format.words) has at least \(lengths.lowerBound) characters, and the limit is \(most)"
                    ))
            }
            if let least = minLength, least > lengths.upperBound {
                found.append(
                    (
                        pointer / "minLength",
                        "\(format.words) has at most \(lengths.upperBound) characters, and \(least) are asked for"
                    ))
            }
        }
        return found
    }

    private var given: [(JSONPointer, String)] {
        var found: [(JSONPointer, String)] = []
        for (index, value) in (self.values ?? []).enumerated() {
            if let reason = reason(against: value) { found.append((pointer / "enum" / index, reason)) }
        }
        if let constant {
            if let reason = reason(against: constant) { found.append((pointer / "const", reason)) }
            if let values = self.values, !values.contains(where: { $0.canonical == constant.canonical }) {
                found.append(
                    (pointer / "const", "\(Self.shown(constant)) is not in \"enum\", so no value is both"))
            }
        }
        return found
    }

    /// Why this value can never be one of the schema's; `nil` if it can as far as can be seen.
    private func reason(against value: JSONTree) -> String? {
        let shown = Self.shown(value)
        guard value.kinds.contains(where: allows) else {
            let words = Self.list((kinds ?? []).map(\.rawValue), "or")
            return "\(shown) is excluded by \"type\": \(words)"
        }
        switch value {
        case .string(let text):
            let count = text.text.unicodeScalars.count
            if count < minLength ?? 0 || count > maxLength ?? .max {
                return "\(shown) has \(count) characters, which its length excludes"
            }
        case .number(let number):
            if let minimum, number < minimum { return "\(shown) is below \"minimum\", \(minimum)" }
            if let maximum, number > maximum { return "\(shown) is above \"maximum\", \(maximum)" }
        case .array(let elements):
            if elements.count < minItems ?? 0 || elements.count > maxItems ?? .max {
                return "\(shown) has \(elements.count) elements, which their number excludes"
            }
        case .object(let members):
            if let key = required.first(where: { key in !members.contains { $0.name == key } }) {
                return "\(shown) lacks \(JSONTree.quoted(key)), which is required"
            }
        case .null, .bool: break
        }
        return nil
    }

    private var keys: [(JSONPointer, String)] {
        guard isClosed else { return [] }
        var found: [(JSONPointer, String)] = []
        let reason = "is required, but \"additionalProperties\": false forbids it, since \"properties\" lacks it"
        for (index, key) in required.enumerated() where property(key) == nil {
            found.append((pointer / "required" / index, "\(JSONTree.quoted(key)) \(reason)"))
        }
        for (index, alternative) in (anyOf ?? []).enumerated() {
            for (place, key) in alternative.enumerated() where property(key) == nil {
                found.append((pointer / "anyOf" / index / "required" / place, "\(JSONTree.quoted(key)) \(reason)"))
            }
        }
        return found
    }
}

extension JSONTree {
    /// The kinds that the value is of.
    var kinds: [DataSchema.Kind] {
        switch self {
        case .null: [.null]
        case .bool: [.boolean]
        case .number(let number): number.isInteger ? [.integer, .number] : [.number]
        case .string: [.string]
        case .array: [.array]
        case .object: [.object]
        }
    }
}
