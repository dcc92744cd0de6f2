import LedgerCore
import Testing

@testable import Categories

/// A small category that the tests change.
enum Given {
    static let ticket = """
        {
          "name": "ticket",
          "life": {
            "": ["opened"],
            "opened": ["changed", "closed"],
            "changed": ["changed", "closed"],
            "closed": []
          },
          "removes": ["closed"],
          "data": {
            "opened": {
              "type": "object",
              "required": ["title"],
              "properties": {
                "title": {"type": "string", "minLength": 1, "maxLength": 20},
                "owner": {"type": ["string", "null"]},
                "from": {"type": "string", "format": "date"},
                "to": {"type": "string", "format": "date"},
                "count": {"type": "integer", "minimum": 0, "maximum": 10},
                "state": {"enum": ["new", "old"]}
              },
              "additionalProperties": false
            },
            "changed": {"type": "object", "properties": {"title": {"type": "string"}}, "additionalProperties": false},
            "closed": {"type": "object", "properties": {}, "additionalProperties": false}
          },
          "unique": [{"key": "title"}],
          "references": [{"key": "owner", "category": "user"}],
          "not_before": [{"key": "to", "other": "from"}],
          "personal": ["owner"]
        }
        """

    /// The category with a part of its text replaced, which must be there.
    static func ticket(_ part: String, _ replacement: String) throws -> CategoryDefinition {
        try #require(ticket.contains(part), "\(part) is not in the text")
        return try read(ticket.replacing(part, with: replacement))
    }

    static func read(_ text: String, name: String = "ticket") throws -> CategoryDefinition {
        try CategoryDefinition(folder: name, files: ["category.json": text])
    }

    /// A category with one type, `t`, of this schema.
    static func schema(_ schema: String) throws -> CategoryDefinition {
        try read(#"{"name":"ticket","life":{"":["t"],"t":[]},"data":{"t":\#(schema)}}"#)
    }
}
