import LedgerCore

/// Prints events, one a line: for people, or as JSON for programs.
struct EventPrinter {
    let json: Bool
    let showsJob: Bool
    private(set) var count = 0

    init(json: Bool, showsJob: Bool) {
        self.json = json
        self.showsJob = showsJob
    }

    /// Bytes of an event's data that are shown to people.
    private static let longestData = 120

    mutating func print(_ event: FeedEvent) throws {
        count += 1
        if json { return try Output.line(event.json) }
        let category = event.category == .job ? "" : "\(event.category) "
        let job = showsJob ? category + Output.printable(event.job) + "  " : ""
        let name = event.type.rawValue
        let type = name + String(repeating: " ", count: max(0, 9 - name.count))
        let shown = Output.printable((event.data ?? "").shortened(toBytes: Self.longestData))
        try Output.line("\(event.position)  \(event.recordedAt)  \(job)v\(event.version)  \(type)  \(shown)")
    }
}
