import AuditTrail
import LedgerCore

/// An entry of the audit trail as a JSON object.
struct TrailLine: Encodable {
    var position: Position
    var eventID: String
    var actor: ExactText?
    var job: JobID?
    var category: String?
    var stream: JobID?
    var version: Int32
    var type: String
    var recordedAt: String
    var occurredAt: String?
    var correlationID: ExactText?
    var causationID: ExactText?
    var source: String?
    var detail: String?

    enum CodingKeys: String, CodingKey {
        case position, actor, job, category, stream, version, type, recordedAt, occurredAt, source, detail
        case eventID = "eventId"
        case correlationID = "correlationId"
        case causationID = "causationId"
    }

    init(_ entry: TrailEntry) {
        position = entry.position
        eventID = entry.eventID.text
        actor = entry.actor
        (job, category, stream) = entry.stream.members
        version = entry.version
        type = entry.type.rawValue
        recordedAt = "\(entry.recordedAt)"
        occurredAt = entry.occurredAt.map { "\($0)" }
        correlationID = entry.correlationID
        causationID = entry.causationID
        source = entry.source
        detail = entry.detail
    }
}

/// Entries of the audit trail as a table for people, and as CSV for spreadsheets.
enum TrailTable {
    /// The largest width of a column, in characters.
    private static let widest = 28
    private static let widestDetail = 60

    /// The lines of a table, headings first. Columns are as wide as their content, and empty
    /// columns are left out. The detail comes last.
    static func lines(_ entries: [TrailEntry]) -> [String] {
        guard !entries.isEmpty else { return [] }
        let isOfJobs = entries.allSatisfy { $0.stream.category == .job }
        var columns: [(name: String, cells: [String])] = [
            ("position", entries.map { "\($0.position)" }), ("when", entries.map { seconds($0.happenedAt) }),
            ("actor", entries.map { $0.actor?.text ?? "" }),
            ("category", entries.map { isOfJobs ? "" : $0.stream.category.text }),
            (isOfJobs ? "job" : "stream", entries.map(\.stream.id.text)),
            ("", entries.map { "v\($0.version)" }),
            ("what", entries.map(\.type.rawValue)), ("belongs to", entries.map { $0.correlationID?.text ?? "" }),
            ("from", entries.map { $0.source ?? "" }), ("detail", entries.map { $0.detail ?? "" }),
        ]
        columns.removeAll { column in column.cells.allSatisfy(\.isEmpty) }
        for index in columns.indices {
            let widest = columns[index].name == "detail" ? widestDetail : widest
            columns[index].cells = columns[index].cells.map { cut(Output.printable($0), widest) }
        }
        let widths = columns.map { column in ([column.name] + column.cells).map(\.count).max() ?? 0 }
        func line(_ cells: [String]) -> String {
            let padded = zip(cells, widths).map { $0.padded(to: $1 + 2) }.joined()
            return String(padded.reversed().drop { $0 == " " }.reversed())
        }
        return [line(columns.map(\.name))] + entries.indices.map { index in line(columns.map { $0.cells[index] }) }
    }

    static func cut(_ text: String, _ widest: Int) -> String {
        text.unicodeScalars.count > widest ? String(text.unicodeScalars.prefix(widest - 1)) + "…" : text
    }

    /// `2026-11-23 20:45:01`, in UTC.
    static func seconds(_ time: Timestamp) -> String {
        String("\(time)".prefix { $0 != "." && $0 != "Z" }).replacing("T", with: " ")
    }

    // MARK: CSV

    private static let names = [
        "position", "event_id", "recorded_at", "occurred_at", "actor", "category", "stream", "version", "type",
        "correlation_id", "causation_id", "source", "detail",
    ]

    /// CSV by RFC 4180 with a header line. The line feed that ends the last line is left to the
    /// caller, who prints the text as a line.
    static func csv(_ entries: [TrailEntry]) -> String {
        let lines = entries.map { entry in
            [
                "\(entry.position)", entry.eventID.text, "\(entry.recordedAt)", entry.occurredAt.map { "\($0)" } ?? "",
                cell(entry.actor?.text), entry.stream.category.text, cell(entry.stream.id.text), "\(entry.version)",
                entry.type.rawValue, cell(entry.correlationID?.text), cell(entry.causationID?.text),
                cell(entry.source), cell(entry.detail),
            ].joined(separator: ",")
        }
        return ([names.joined(separator: ",")] + lines).joined(separator: "\r\n") + "\r"
    }

    /// Text from an event as a cell. A spreadsheet would evaluate a text that begins like a
    /// formula, so such a text gets an apostrophe in front, which spreadsheets hide.
    static func cell(_ text: String?) -> String {
        guard var text, let first = text.unicodeScalars.first else { return "" }
        if "=+-@\t\r".unicodeScalars.contains(first) { text = "'" + text }
        let needsQuotes = text.unicodeScalars.contains { "\",\r\n".unicodeScalars.contains($0) }
        return needsQuotes ? "\"" + text.replacing("\"", with: "\"\"") + "\"" : text
    }
}
