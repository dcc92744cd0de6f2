import EventStore
import Foundation
import LedgerCore
import Postgres

/// The conditions of a query as SQL about a row `job` of `job_list`.
enum JobListConditions {
    static func of(
        _ query: JobListQuery, at moment: ListedMoment, _ parameters: inout PostgresParameters
    ) -> [String] {
        var conditions = [moment.isThere, moment.is(query.statuses)].compactMap(\.self)
        if let kind = query.kind { conditions.append("kind = \(parameters.add(kind))") }
        if let actor = query.actor { conditions.append(of(actor: actor, &parameters)) }
        if let text = query.text { conditions.append(of(text: text, at: moment, &parameters)) }
        if let since = query.since { conditions.append("created_at >= \(time(since, &parameters))") }
        if let until = query.until { conditions.append("created_at <= \(time(until, &parameters))") }
        if let isTruncated = query.isTruncated { conditions.append(moment.isTruncated(isTruncated)) }
        let labels = query.variables.map { of($0, &parameters) } + query.metadata.map { of($0, &parameters) }
        if !labels.isEmpty {
            conditions.append(
                """
                EXISTS (SELECT FROM job_list_labels AS labels
                         WHERE labels.id = job.id AND \(labels.joined(separator: " AND ")))
                """)
        }
        return conditions
    }

    /// The index has the first 200 characters of an actor.
    private static func of(actor: ExactText, _ parameters: inout PostgresParameters) -> String {
        let beginning = String(String.UnicodeScalarView(actor.text.unicodeScalars.prefix(200)))
        return "left(actor, 200) = \(parameters.add(beginning)) AND actor = \(parameters.add(actor))"
    }

    /// Under the collation C, lower() changes the letters of ASCII and no others.
    private static func of(text: String, at moment: ListedMoment, _ parameters: inout PostgresParameters) -> String {
        let wanted = parameters.add(text.loweringASCII)
        func contains(_ column: String) -> String { "strpos(lower(\(column) COLLATE \"C\"), \(wanted)) > 0" }
        return """
            (\(contains("job.id")) OR \(contains("name"))
             OR error IS NOT NULL AND \(moment.hasEnded) AND \(contains("error")))
            """
    }

    private static func time(_ time: Timestamp, _ parameters: inout PostgresParameters) -> String {
        "\(parameters.add(PostgresTimestamp(time)))::timestamptz AT TIME ZONE 'UTC'"
    }

    private static func of(_ variable: JobListQuery.Variable, _ parameters: inout PostgresParameters) -> String {
        guard let value = variable.value else {
            return contained(["[{\"name\":\(json(variable.name))}]"], in: "variables", &parameters)
        }
        let forms = values(value).map { "[{\"name\":\(json(variable.name)),\"values\":[\($0)]}]" }
        return contained(forms, in: "variables", &parameters)
    }

    private static func of(_ member: JobListQuery.Metadata, _ parameters: inout PostgresParameters) -> String {
        contained(values(member.value).map { "{\(json(member.key)):\($0)}" }, in: "metadata", &parameters)
    }

    private static func contained(
        _ forms: [String], in column: String, _ parameters: inout PostgresParameters
    ) -> String {
        let conditions = forms.map { "labels.\(column) @> \(parameters.add($0))::jsonb" }
        return conditions.count == 1 ? conditions[0] : "(\(conditions.joined(separator: " OR ")))"
    }

    private static func json(_ text: String) -> String {
        var json: [UInt8] = []
        json.appendJSON(string: text)
        return String(decoding: json, as: UTF8.self)
    }

    /// A text as a JSON string, and as the number or truth value that is written so.
    private static func values(_ text: String) -> [String] {
        let isPlain = ["true", "false", "null"].contains(text) || isNumber(text)
        return [json(text)] + (isPlain ? [text] : [])
    }

    /// Whether a text is a number in JSON, of a size that Postgres's numbers have.
    private static func isNumber(_ text: String) -> Bool {
        text.utf8.count <= 100
            && (try? /-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]{1,4})?/.asciiOnlyDigits().wholeMatch(in: text)) != nil
    }
}

extension String {
    /// The text with lower-case letters of ASCII in place of capitals.
    fileprivate var loweringASCII: String {
        String(decoding: utf8.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }, as: UTF8.self)
    }
}
