import LedgerCore

/// Nothing that stands in a file of a definition is passed over: a member that is not known, or stands there twice, is a mistake that
/// would otherwise look like an answer.
enum KnownMembers {
    typealias Member = (name: String, value: ArraySlice<UInt8>)

    /// The members of the object `json`.
    /// - Parameter place: what the object is, for messages.
    /// - Throws: ``ProjectionDefinition/FormatError``
    static func read(
        _ json: ArraySlice<UInt8>, _ known: [String], in place: String
    ) throws(ProjectionDefinition.FormatError) -> [Member] {
        let members: [Member]
        do {
            members = try JSONText.slices(of: json)
        } catch {
            throw ProjectionDefinition.FormatError(description: "\(place) is no JSON object: \(error)")
        }
        for (index, member) in members.enumerated() {
            guard known.contains(where: { isSame($0, member.name) }) else {
                throw ProjectionDefinition.FormatError(
                    description: "\(place): \"\(member.name)\" is not known; known are \(known.joined(separator: ", "))")
            }
            guard !members[..<index].contains(where: { isSame($0.name, member.name) }) else {
                throw ProjectionDefinition.FormatError(description: "\(place): \"\(member.name)\" stands there twice")
            }
        }
        return members
    }

    private static func isSame(_ a: String, _ b: String) -> Bool { a.utf8.elementsEqual(b.utf8) }
}

extension Cases {
    /// What is written in a case and would be passed over; `nil` where all of it counts.
    static func mistake(in text: String, of definition: ProjectionDefinition) -> String? {
        do throws(ProjectionDefinition.FormatError) {
            let members = try KnownMembers.read(Array(text.utf8)[...], ["about", "events", "expect"], in: "the case")
            for (name, value) in members {
                switch name {
                case "events":
                    for (index, event) in ((try? JSONText.elements(of: value)) ?? []).enumerated() {
                        let known = ["job", "type", "data", "metadata", "occurred_at", "event_id", "recorded_at"]
                        _ = try KnownMembers.read(event, known, in: "event \(index + 1)")
                    }
                case "expect": _ = try KnownMembers.read(value, definition.tables, in: "\"expect\"")
                default: break
                }
            }
            return nil
        } catch {
            return error.description
        }
    }
}
