import EventStore
package import LedgerCore

/// Writes the folder of a new category: a small one that works, ready to be changed.
package struct NewCategory: Sendable {
    private let name: LedgerName

    package init(_ name: LedgerName) { self.name = name }

    /// - Parameter directory: the folder that holds the categories' folders; created if it is
    ///   missing.
    /// - Returns: the paths of the written files.
    package func write(in directory: String) throws -> [String] {
        try NewDefinition(name, files: files).write(in: directory)
    }

    /// Streams that are opened, changed any number of times, and closed.
    var files: [(path: String, text: String)] {
        [(CategoryDefinition.file, definition), ("README.md", readme), ("cases/first.json", firstCase)]
    }

    private var definition: String {
        """
        {
          "name": "\(name)",
          "life": {
            "":        ["opened"],
            "opened":  ["changed", "closed"],
            "changed": ["changed", "closed"],
            "closed":  []
          },
          "data": {
            "opened": {
              "type": "object",
              "required": ["title"],
              "properties": {
                "title": {"type": "string", "minLength": 1, "maxLength": 200},
                "due": {"type": "string", "format": "date"}
              },
              "additionalProperties": false
            },
            "changed": {
              "type": "object",
              "properties": {
                "title": {"type": "string", "minLength": 1, "maxLength": 200},
                "due": {"type": ["string", "null"], "format": "date"}
              },
              "additionalProperties": false
            },
            "closed": {
              "type": "object",
              "properties": {"reason": {"type": "string", "maxLength": 1000}},
              "additionalProperties": false
            }
          },
          "unique": [{"key": "title", "ignoring_case": true}]
        }

        """
    }

    private var readme: String {
        """
        # \(name)

        | type | data |
        |---|---|
        | `opened` | `title` (1 to 200 characters, which no other stream has), `due` (a date) |
        | `changed` | the same, each optional; `due` may be null |
        | `closed` | `reason` |

        """
    }

    private var firstCase: String {
        """
        {
          "about": "A stream is opened once and ends when it is closed, and no two have one title.",
          "events": [
            {"stream": "a", "type": "changed", "data": {"title": "early"}, "refused": "unknown_job"},
            {"stream": "a", "type": "opened", "data": {"title": "First", "due": "2026-01-31"}},
            {"stream": "a", "type": "opened", "data": {"title": "Other"}, "refused": "already_queued"},
            {"stream": "b", "type": "opened", "data": {"title": "first"}, "refused": "not_unique"},
            {"stream": "b", "type": "opened", "data": {"title": ""}, "refused": "invalid_event"},
            {"stream": "a", "type": "changed", "data": {"due": null}},
            {"stream": "a", "type": "closed", "data": {"reason": "done"}},
            {"stream": "a", "type": "changed", "data": {}, "refused": "already_ended"}
          ]
        }

        """
    }
}
