import LedgerCore

/// The rules beside the schemas: unique, references, not_before, personal.
extension DefinitionCheck {
    mutating func checkRules(knowing categories: Set<ExactText>) {
        checkUnique()
        checkReferences(knowing: categories)
        checkNotBefore()
        for (index, key) in definition.personal.enumerated() { checkKnown(key, at: JSONPointer("personal") / index) }
    }

    private mutating func checkUnique() {
        for (index, rule) in definition.unique.enumerated() {
            let place = JSONPointer("unique") / index
            if definition.unique[..<index].contains(where: { $0.key == rule.key }) {
                find(at: place, "\(JSONTree.quoted(rule.key)) appears twice")
            }
            checkText(rule.key, at: place / "key")
        }
    }

    private mutating func checkReferences(knowing categories: Set<ExactText>) {
        for (index, rule) in definition.references.enumerated() {
            let place = JSONPointer("references") / index
            if definition.references[..<index].contains(where: { $0.key == rule.key }) {
                find(at: place, "\(JSONTree.quoted(rule.key)) appears twice")
            }
            checkText(rule.key, at: place / "key")
            if !categories.contains(rule.category) {
                let known = DataSchema.keys(categories.sorted(), "and")
                find(
                    at: place / "category", "there is no category \(JSONTree.quoted(rule.category)); there are \(known)"
                )
            }
            // The very first stream would need one before it.
            if rule.category == ExactText(definition.name.text), !definition.firstTypes.isEmpty,
                definition.firstTypes.allSatisfy({ requires(rule.key, $0) })
            {
                find(
                    at: place / "key",
                    """
                    every first event requires \(JSONTree.quoted(rule.key)), which must be the id of another stream of \
                    this category: no stream could ever be the first
                    """)
            }
        }
    }

    private func requires(_ key: ExactText, _ type: ExactText) -> Bool {
        guard let schema = definition.schema(of: type), schema.required.contains(key) else { return false }
        return !(schema.property(key)?.allows(.null) ?? true)
    }

    private mutating func checkNotBefore() {
        for (index, rule) in definition.notBefore.enumerated() {
            let place = JSONPointer("not_before") / index
            if rule.key == rule.other {
                find(at: place / "other", "\(JSONTree.quoted(rule.key)) is never before itself")
            }
            if definition.notBefore[..<index].contains(rule) { find(at: place, "this rule appears twice") }
            checkText(rule.key, at: place / "key")
            checkText(rule.other, at: place / "other")
            for (type, schema) in definition.data {
                guard let value = schema.property(rule.key), let other = schema.property(rule.other) else { continue }
                let formats: [DataSchema.Format?] = [.date, .dateTime]
                guard value.format == other.format, formats.contains(value.format) else {
                    find(
                        at: place,
                        """
                        in "\(type)" the two are not both of the format date, or both of the format date-time, so they \
                        cannot be compared
                        """)
                    break
                }
            }
        }
    }

    /// A key that no schema lets through would make its rule one that never applies.
    private mutating func checkKnown(_ key: ExactText, at pointer: JSONPointer) {
        let schemas = definition.data.map(\.schema)
        guard !schemas.contains(where: { $0.property(key) != nil }), schemas.contains(where: \.isClosed) else { return }
        find(at: pointer, "no schema of this category has the property \(JSONTree.quoted(key))")
    }

    /// - Parameter key: one whose values are texts.
    private mutating func checkText(_ key: ExactText, at pointer: JSONPointer) {
        checkKnown(key, at: pointer)
        for (type, schema) in definition.data {
            guard let property = schema.property(key), !property.isText else { continue }
            find(
                at: pointer,
                """
                in "\(type)" \(JSONTree.quoted(key)) may be something else than a text: its "type" must be "string", \
                or ["string", "null"]
                """)
            break
        }
    }
}

extension DataSchema {
    /// Whether each value is a text, or null.
    fileprivate var isText: Bool {
        if isOnly(.string, .null), allows(.string) { return true }
        let given = constant.map { [$0] } ?? values
        return given?.allSatisfy { [.string, .null].contains($0.kinds[0]) } ?? false
    }
}
