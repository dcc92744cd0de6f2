import LedgerCore
import Postgres

/// Adds to the findings of a verification which job, version and type an event has.
enum FindingLabels {
    /// A finding whose event may not have been looked up yet.
    enum UnlabelledFinding {
        case finding(SealVerification.Finding)
        case difference(LeafComparison.Difference)
        case named(SealVerification.Finding)

        var position: Position {
            switch self {
            case .finding(let finding), .named(let finding): finding.positions.lowerBound
            case .difference(let difference): difference.positions.lowerBound
            }
        }

        var finding: SealVerification.Finding {
            switch self {
            case .finding(let finding), .named(let finding): finding
            case .difference(let difference): .init(difference, nil)
            }
        }
    }

    /// The most events that are looked up.
    private static let maxLookups = 1000

    static func add(to found: inout [UnlabelledFinding], on connection: PostgresConnection) async throws {
        let positions = found.compactMap { unlabelled -> Position? in
            guard case .difference(let difference) = unlabelled, difference.kind != .removed,
                difference.positions.count == 1
            else {
                return nil
            }
            return difference.positions.lowerBound
        }
        let rows = try await connection.query(
            "SELECT position, category, stream_id, version, type FROM events WHERE position = ANY ($1)",
            Array(positions.prefix(maxLookups)))
        var names: [Position: String] = [:]
        for row in rows {
            let (category, id): (String, String) = (try row.decode(1), try row.decode(2))
            let (version, type): (Int32, String) = (try row.decode(3), try row.decode(4))
            names[try row.decode(0)] = "\(category) \(id), version \(version) (\(type))"
        }
        found = found.map { unlabelled in
            guard case .difference(let difference) = unlabelled else { return unlabelled }
            return .named(.init(difference, names[difference.positions.lowerBound]))
        }
    }
}

extension SealVerification.Finding {
    /// - Parameter name: of the event, where it is known.
    init(_ difference: LeafComparison.Difference, _ name: String?) {
        let (first, last) = (difference.positions.lowerBound, difference.positions.upperBound)
        let subject = name.map { "\($0): " } ?? ""
        positions = difference.positions
        switch difference.kind {
        case .altered:
            kind = .altered
            message =
                subject + "it is not what was sealed"
                + (difference.shift == 0 ? "" : ", which was at position \(first - difference.shift)")
        case .removed:
            kind = .removed
            message = "the event that was sealed here is gone"
        case .added:
            kind = .added
            message = subject + "no such event was sealed"
        case .moved:
            kind = .moved
            message =
                first == last
                ? subject + "it was sealed at position \(first - difference.shift)"
                : "these events were sealed at the positions \(first - difference.shift)–\(last - difference.shift)"
        }
    }
}
