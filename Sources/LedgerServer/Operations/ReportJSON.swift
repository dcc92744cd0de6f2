import Foundation

/// The JSON of reports: what commands print with `--json`, and what the service answers. Members
/// are in the order of their names, in snake case; one without a value is missing.
package enum ReportJSON {
    package static func bytes(_ report: some Encodable) throws -> [UInt8] {
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.withoutEscapingSlashes, .sortedKeys]
        encoder.keyEncodingStrategy = .convertToSnakeCase
        return Array(try encoder.encode(report))
    }
}
