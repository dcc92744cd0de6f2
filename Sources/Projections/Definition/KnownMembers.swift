import LedgerCore

/// Reads JSON objects in a definition's files strictly. An unknown or repeated member is an error:
/// ignoring it would hide a misspelling.
enum KnownMembers {
    /// The members of the object `json`.
    /// - Parameter place: names the object in messages.
    /// - Throws: ``ProjectionDefinition/FormatError``
    static func read(
        _ json: ArraySlice<UInt8>, _ known: [ExactText], in place: String
    ) throws(ProjectionDefinition.FormatError) -> [JSONText.Slice] {
        let members: [JSONText.Slice]
        do {
            members = try JSONText.slices(of: json)
        } catch {
            throw ProjectionDefinition.FormatError(description: "\(place) is no JSON object: \(error)")
        }
        for (index, member) in members.enumerated() {
            guard known.contains(member.name) else {
                throw ProjectionDefinition.FormatError(
                    description:
                        "\(place): \"\(member.name)\" is not known; known are "
                        + known.map(\.text).joined(separator: ", "))
            }
            guard !members[..<index].contains(where: { $0.name == member.name }) else {
                throw ProjectionDefinition.FormatError(description: "\(place): \"\(member.name)\" appears twice")
            }
        }
        return members
    }
}

extension Cases {
    /// The first unknown or repeated member of a case; `nil` if there is none.
    static func mistake(in text: String, of definition: ProjectionDefinition) -> String? {
        do throws(ProjectionDefinition.FormatError) {
            let members = try KnownMembers.read(Array(text.utf8)[...], ["about", "events", "expect"], in: "the case")
            for (name, value) in members {
                switch name {
                case "events":
                    for (index, event) in ((try? JSONText.elements(of: value)) ?? []).enumerated() {
                        let known: [ExactText] = [
                            "job", "type", "data", "metadata", "occurred_at", "event_id", "recorded_at",
                        ]
                        _ = try KnownMembers.read(event, known, in: "event \(index + 1)")
                    }
                case "expect":
                    _ = try KnownMembers.read(value, definition.tables.map { ExactText($0) }, in: "\"expect\"")
                default: break
                }
            }
            return nil
        } catch {
            return error.description
        }
    }
}
