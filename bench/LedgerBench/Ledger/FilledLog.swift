import EventStore
import LedgerCore
import Postgres

/// A long log that is made in minutes: jobs in groups, with the events of a group's jobs in turn,
/// and then the next group. It bypasses the append function, but follows its rules: positions
/// without gaps, versions, job states, totals, times that never go back.
struct FilledLog: Sendable {
    /// How many jobs run at a time.
    let jobsAtOnce: Int
    let eventsPerJob: Int

    /// How many events one transaction has.
    private static let step = 20_000

    /// An SQL expression for the id of job `number`, from 0. Ids are scattered, as users' ids are.
    static let jobID = "'backtest-' || lpad(to_hex(number * 2654435761 % 4294967296), 8, '0')"

    /// Writes this log's events from `written` + 1 to `events` after the events that the ledger
    /// has.
    func fill(_ ledger: BenchLedger, from written: Int = 0, events: Int, progress: (Int) async -> Void = { _ in })
        async throws
    {
        let bare = try await ledger.bare()
        // Sets the mark that append sets, without the check at commit that the commit waits for the
        // disk.
        try await bare.run("SET jobledger.appending = 'noted'; SET synchronous_commit = 'off'")
        let last = try await ledger.admin.query(
            "SELECT position, recorded_at FROM events ORDER BY position DESC LIMIT 1"
        ).first
        let before = Int(try last?.decode(0, as: Position.self) ?? 0) - written
        let moment =
            try last.map { Timestamp(try $0.decode(1, as: PostgresTimestamp.self)) }
            ?? Timestamp(microseconds: 1_750_000_000_000_000)
        var first = written + 1
        var bytes = await copied(first, events, before, moment)
        while first <= events {
            try Task.checkCancellation()
            let next = first + Self.step
            // The next transaction's text is made while this one is written.
            async let following = copied(next, events, before, moment)
            let chunk = bytes
            try await bare.copy("COPY events (\(BenchEvent.copyColumns)) FROM STDIN") { $0 == 0 ? chunk : nil }
            bytes = await following
            await progress(min(events, next - 1))
            first = next
        }
        try await ledger.admin.execute(script: "VACUUM (ANALYZE) events")
        try await ledger.settle()
    }

    /// The text of one transaction; empty after the last event.
    /// - Parameter before: how many other events the ledger has before event 1 of this log.
    private func copied(_ first: Int, _ last: Int, _ before: Int, _ moment: Timestamp) async -> [UInt8] {
        guard first <= last else { return [] }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Self.step * 400)
        let recordedAt = Timestamp(microseconds: moment.microseconds + Int64(first / Self.step)).description
        for number in first...min(last, first + Self.step - 1) {
            let (group, place) = (number - 1).quotientAndRemainder(dividingBy: jobsAtOnce * eventsPerJob)
            let job = group * jobsAtOnce + place % jobsAtOnce
            append(number, position: number + before, job: job, version: place / jobsAtOnce + 1, recordedAt, to: &bytes)
        }
        return bytes
    }

    private func append(
        _ number: Int, position: Int, job: Int, version: Int, _ recordedAt: String, to bytes: inout [UInt8]
    ) {
        var random = SplitMix(state: UInt64(number))
        bytes += "\(position)\t".utf8
        // A UUID in the form of version 7, ascending with time.
        bytes.appendHex(UInt64(1_750_000_000_000 + number), digits: 12)
        bytes += "7".utf8
        bytes.appendHex(random.next(), digits: 3)
        bytes += "8".utf8
        bytes.appendHex(random.next(), digits: 15)
        bytes += "\tjob\tbacktest-".utf8
        bytes.appendHex(UInt64(job) * 2_654_435_761 % 4_294_967_296, digits: 8)
        bytes += "\t\(version)\t".utf8
        switch version {
        case 1: bytes += "queued\t{\"name\": \"SMA crossover\", \"total\": \(eventsPerJob)}".utf8
        case eventsPerJob where job.isMultiple(of: 20): bytes += "failed\t{\"error\": \"out of memory\"}".utf8
        case eventsPerJob: bytes += "finished\t{\"results\": {\"summary\": {\"best\": 1.9}}}".utf8
        default:
            bytes += "progress\t{\"completed\": \(version - 1), \"message\": \"".utf8
            bytes += Filler.bytes(number, length: 200)
            bytes += "\"}".utf8
        }
        let isProgress = version > 1 && version < eventsPerJob
        bytes += "\t{}\t\(recordedAt)\t\(eventsPerJob)\t\(isProgress ? String(version - 1) : #"\N"#)\n".utf8
    }

    /// How many jobs have started after `events` events.
    func jobs(in events: Int) -> Int {
        let (groups, rest) = events.quotientAndRemainder(dividingBy: jobsAtOnce * eventsPerJob)
        return groups * jobsAtOnce + min(jobsAtOnce, rest)
    }
}

extension [UInt8] {
    /// Appends the last `digits` hexadecimal digits.
    fileprivate mutating func appendHex(_ value: UInt64, digits: Int) {
        for digit in (0..<digits).reversed() {
            let nibble = UInt8(truncatingIfNeeded: value >> UInt64(digit * 4)) & 15
            append(nibble < 10 ? 0x30 + nibble : 0x57 + nibble)
        }
    }
}
