package import LedgerCore

/// What the data of an event must look like: the subset of JSON Schema (draft 2020-12) that the
/// ledger enforces. Its words mean what they mean there.
package struct DataSchema: Sendable, Equatable {
    package enum Kind: String, Sendable, CaseIterable {
        case object, array, string, number, integer, boolean, null
    }

    package enum Format: String, Sendable, CaseIterable {
        case date, uuid, email, uri
        case dateTime = "date-time"
    }

    package struct Property: Sendable, Equatable {
        package let name: ExactText
        package let schema: DataSchema
    }

    package indirect enum Items: Sendable, Equatable {
        case any
        case each(DataSchema)
    }

    /// Where the schema stands in its file.
    package let pointer: JSONPointer

    /// `type`; `nil` where any value will do.
    package var kinds: [Kind]?
    /// `enum`.
    package var values: [JSONTree]?
    /// `const`.
    package var constant: JSONTree?

    package var minLength: Int?
    package var maxLength: Int?
    /// As Postgres understands it.
    package var pattern: String?
    package var format: Format?

    package var minimum: JSONNumber?
    package var maximum: JSONNumber?

    package var required: [ExactText] = []
    package var properties: [Property] = []
    /// `additionalProperties: false`: an object has no members but ``properties``.
    package var isClosed = false
    /// `anyOf`: the keys of one of these lists, at least, must be there.
    package var anyOf: [[ExactText]]?

    package var items = Items.any
    package var minItems: Int?
    package var maxItems: Int?

    init(at pointer: JSONPointer) { self.pointer = pointer }

    package func property(_ name: ExactText) -> DataSchema? { properties.first { $0.name == name }?.schema }

    /// Whether a value of this kind may have the schema.
    func allows(_ kind: Kind) -> Bool {
        guard let kinds else { return true }
        return kinds.contains(kind) || kind == .integer && kinds.contains(.number)
    }

    /// Whether a value must be of one of these kinds.
    func isOnly(_ kinds: Kind...) -> Bool { self.kinds?.allSatisfy(kinds.contains) ?? false }

    /// This schema and each schema within it.
    var all: [DataSchema] {
        var schemas = [self]
        for property in properties { schemas += property.schema.all }
        if case .each(let schema) = items { schemas += schema.all }
        return schemas
    }
}
