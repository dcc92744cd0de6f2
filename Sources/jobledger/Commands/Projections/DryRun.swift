import Foundation
import LedgerCore
import Projections

/// The answer of `rebuild --dry-run`.
enum DryRun {
    private struct Answer: Encodable {
        var projection: String
        var sameDefinition: Bool?
        var head: Position
        var events: Int64
        var resumesAt: Position?
        var workers: Int
        var rate: Double?
        var rateOf: String
        var seconds: Double?
        var obstacles: [String]

        init(_ plan: RebuildPlan) {
            projection = plan.projection
            sameDefinition = plan.isSameDefinition
            head = plan.head
            events = plan.events
            resumesAt = plan.resumes?.position
            workers = plan.workers
            rate = plan.rate?.rounded()
            rateOf = plan.rateOf
            seconds = plan.seconds.map { ($0 * 10).rounded() / 10 }
            obstacles = plan.obstacles
        }
    }

    /// Shows what a rebuild would do. Throws ``Failure/refused`` if something prevents it.
    static func show(_ plan: RebuildPlan, json: Bool) throws {
        if json { try Output.json(Answer(plan)) } else { try print(plan) }
        if !plan.obstacles.isEmpty { throw Failure.refused }
    }

    private static func print(_ plan: RebuildPlan) throws {
        try Output.line("\(plan.projection): \(plan.events) events to fold, the log ends at \(plan.head)")
        if let resumed = plan.resumes {
            try Output.line("continues the rebuild that \(resumed.startedBy) began at \(resumed.startedAt)")
        }
        let comparison =
            switch plan.isSameDefinition {
            case true?: "the tables in use have this definition: their digest will be compared"
            case false?: "the tables in use have another definition: they will not be compared"
            case nil: "there are no tables in use"
            }
        try Output.line(comparison)
        if let rate = plan.rate, let seconds = plan.seconds {
            try Output.line(
                "about \(String(format: "%.0f", seconds)) s at \(Int(min(rate, 1e12))) events/s (\(plan.rateOf)), "
                    + "then the indexes; workers: \(plan.workers)")
        }
        for obstacle in plan.obstacles { try Output.line("obstacle: \(obstacle)") }
    }
}
