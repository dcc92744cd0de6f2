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
    private static let eventMembers: [ExactText] = [
        "job", "category", "stream", "type", "data", "metadata", "occurred_at", "event_id", "recorded_at",
    ]

    /// Checks that an event names its stream in one of two ways.
    private static func checkStream(_ members: Set<ExactText>, in place: String, of definition: ProjectionDefinition)
        throws(ProjectionDefinition.FormatError)
    {
        let namesStream = members.contains("stream")
        guard namesStream != members.contains("job"), namesStream || !members.contains("category") else {
            throw ProjectionDefinition.FormatError(
                description: "\(place): give \"job\", or \"category\" and \"stream\"")
        }
        guard !namesStream || members.contains("category") || definition.consumes.only != nil else {
            throw ProjectionDefinition.FormatError(
                description:
                    "\(place): give the \"category\" too, for the projection consumes events of several")
        }
    }

    /// The first unknown or repeated member of a case; `nil` if there is none.
    static func mistake(in text: String, of definition: ProjectionDefinition) -> String? {
        do throws(ProjectionDefinition.FormatError) {
            let members = try KnownMembers.read(Array(text.utf8)[...], ["about", "events", "expect"], in: "the case")
            for (name, value) in members {
                switch name {
                case "events":
                    for (index, event) in ((try? JSONText.elements(of: value)) ?? []).enumerated() {
                        let place = "event \(index + 1)"
                        let members = try KnownMembers.read(event, eventMembers, in: place)
                        try checkStream(Set(members.map(\.name)), in: place, of: definition)
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
