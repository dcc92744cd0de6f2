import LedgerCore
import Postgres

/// A history with everything that the ledger accepts: jobs in every state, progress out of order,
/// runs reported twice, equal times, and times that go back. It is the same each time.
struct RandomHistory {
    private(set) var jobs: [JobID] = []
    private(set) var types: [String] = []
    private(set) var data: [String] = []
    private(set) var metadata: [String] = []
    private(set) var moments: [PostgresTimestamp?] = []

    init() {
        var state: UInt64 = 1
        func below(_ limit: Int) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % UInt64(limit))
        }
        func add(_ job: Int, _ type: String, _ text: String) {
            jobs.append("job \(job)")
            types.append(type)
            data.append(text)
            metadata.append(below(3) == 0 ? "{}" : #"{"actor":"actor \#(below(3))"}"#)
            // Hours around a midnight, so that times repeat and fall on two days.
            let hour = Int64(3_600_000_000)
            moments.append(
                below(9) == 0
                    ? nil : PostgresTimestamp(microseconds: 820_454_400_000_000 + Int64(below(12) - 6) * hour))
        }
        for job in 0..<10 {
            let total = below(3) == 0 ? "" : #","total":40"#
            let variables = below(2) == 0 ? "" : #","variables":[{"name":"v","values":["a","b"],"count":2}]"#
            add(
                job, "queued",
                #"{"name":"name \#(below(4))","kind":"\#(below(3) == 0 ? "local" : "server")"\#(total)\#(variables)}"#)
        }
        // Events behind the end of a job are refused, as they should be.
        for _ in 0..<120 {
            let job = below(10)
            switch below(30) {
            case 0, 1: add(job, "truncated", #"{"reason":"reason \#(below(3))","limit":\#(below(40))}"#)
            case 2: add(job, "failed", #"{"error":"error \#(below(3))"}"#)
            case 3:
                let summary = #"{"best":\#(below(9)).\#(below(9))}"#
                add(
                    job, "finished",
                    #"{"results":{"summary":\#(summary),"runs":[{"metrics":{"m":\#(below(9)).5}},{}]}}"#)
            default:
                let index = below(20)
                let metrics = #"{"m":\#(below(1000)).\#(below(1000))}"#
                let run = #"{"run_index":\#(index),"variables":{"v":"a"},"metrics":\#(metrics)}"#
                // Totals rise and fall, also below what was completed.
                let total = below(6) == 0 ? #","total":\#(below(40))"# : ""
                let progress = #""completed":\#(below(40))\#(total),"message":"message \#(below(5))""#
                add(job, "progress", #"{\#(progress),"runs":[\#(below(2) == 0 ? run : "")]}"#)
            }
        }
    }
}
