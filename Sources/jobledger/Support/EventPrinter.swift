import LedgerCore

/// Events as people, or programs, read them.
struct EventPrinter {
    let ledger: LedgerName
    let json: Bool
    let showsJob: Bool
    private(set) var count = 0

    init(ledger: LedgerName, json: Bool, showsJob: Bool) {
        self.ledger = ledger
        self.json = json
        self.showsJob = showsJob
    }

    /// As much of the data as fits on a line.
    private static let longestData = 120

    mutating func print(_ event: RecordedEvent) throws {
        count += 1
        if json { return try Output.line(CloudEvent(event, of: ledger).json) }
        let job = showsJob ? Output.printable(event.job) + "  " : ""
        let type = event.type.rawValue + String(repeating: " ", count: 9 - event.type.rawValue.count)
        let data = Output.printable(String((event.data ?? "").prefix(Self.longestData + 1)))
        let shown = data.count > Self.longestData ? data.prefix(Self.longestData) + "…" : data[...]
        try Output.line("\(event.position)  \(event.recordedAt)  \(job)v\(event.version)  \(type)  \(shown)")
    }
}
