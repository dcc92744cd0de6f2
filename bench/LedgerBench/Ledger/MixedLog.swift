import EventStore
import Foundation
import LedgerCore
import Postgres

/// A log as a platform writes it, from a seed: jobs start, report progress and end, a thousand of
/// them at a time. It exists as a file for `append --file`, and as the text of a COPY with the
/// positions and versions that the file's lines get.
struct MixedLog: Sendable {
    let lines: URL
    let copied: URL
    let events: Int
    /// Where each transaction of 1,000 rows starts in `copied`, and where the last ends.
    private let chunks: [Int]

    private static let active = 1000

    /// Writes both files.
    /// - Parameters:
    ///   - jobs: the number of jobs; the last may not have ended.
    ///   - isCopied: whether to write the text of a COPY as well.
    init(events: Int, jobs: Int, in directory: URL, isCopied: Bool = true) throws {
        self.events = events
        lines = directory.appending(path: "mixed-\(events).ndjson")
        copied = directory.appending(path: "mixed-\(events).copy")
        var (file, copy) = (try OutputFile(lines), try OutputFile(copied))
        var random = SplitMix(state: 42)
        let usual = max(3, events / max(1, jobs))
        var life = (0..<min(Self.active, jobs)).map { JobLife(number: $0, length: usual, &random) }
        var started = life.count
        var chunks = [0]
        for position in 1...events {
            let index = Int(random.next() % UInt64(life.count))
            let event = life[index].next()
            if life[index].isOver {
                life[index] = JobLife(number: started, length: usual, &random)
                started += 1
            }
            if isCopied {
                event.appendCopyLine(position: Position(position), recordedAt: "2026-01-01T00:00:00Z", to: &copy.bytes)
            }
            file.bytes +=
                #"{"job":"\#(event.job)","type":"\#(event.type)","event_id":"\#(event.id.text)","data":\#(event.data)}"#
                .utf8
            file.bytes.append(0x0A)
            if position.isMultiple(of: 1000) || position == events {
                chunks.append(copy.written + copy.bytes.count)
                try file.flush()
                try copy.flush()
            }
        }
        self.chunks = chunks
    }

    /// The text of transaction `number`, from 0; `nil` after the last.
    func chunk(_ number: Int) throws -> [UInt8]? {
        guard number + 1 < chunks.count else { return nil }
        let file = try FileHandle(forReadingFrom: copied)
        try file.seek(toOffset: UInt64(chunks[number]))
        let bytes = try file.read(upToCount: chunks[number + 1] - chunks[number]) ?? Data()
        try file.close()
        return [UInt8](bytes)
    }

    func remove() throws {
        try FileManager.default.removeItem(at: lines)
        try FileManager.default.removeItem(at: copied)
    }
}

extension BenchLedger {
    /// Writes a log directly and bypasses the append function, with everything that the function
    /// would have ensured.
    func fill(copying log: MixedLog) async throws {
        let bare = try await bare()
        // Sets the mark that append sets, without the check at commit that the commit waits for the
        // disk.
        try await bare.run("SET jobledger.appending = 'noted'; SET synchronous_commit = 'off'")
        try await bare.copy("COPY events (\(BenchEvent.copyColumns)) FROM STDIN", log.chunk)
        try await admin.execute(script: "VACUUM (ANALYZE) events")
        try await settle()
    }
}

/// One job from its first event to its last.
private struct JobLife {
    private let job: JobID
    private let length: Int
    private let fails: Bool
    private let truncatedAt: Int?
    private var version = 0

    var isOver: Bool { version == length }

    init(number: Int, length usual: Int, _ random: inout SplitMix) {
        job = "backtest-\(String(random.next() % 0xFFFF_FFFF, radix: 36))-\(number)"
        length = Int.random(in: max(3, usual / 2)...(usual + usual / 2), using: &random)
        fails = random.next() % 20 == 0
        truncatedAt = random.next() % 10 == 0 ? length - 1 : nil
    }

    mutating func next() -> BenchEvent {
        version += 1
        let (type, data) = content
        return BenchEvent(
            id: .version7(), job: job, version: Int32(version), type: type, data: data, total: Int32(length))
    }

    private var content: (String, String) {
        switch version {
        case 1:
            return (
                "queued",
                #"{"name": "SMA crossover", "total": \#(length), "strategy": {"kind": "sma", "fast": 10, "slow": 50}}"#
            )
        case length where fails:
            return ("failed", #"{"error": "out of memory in run \#(version)"}"#)
        case length:
            return ("finished", #"{"results": {"summary": {"best": 1.9, "runs": \#(length)}, "runs": [\#(run)]}}"#)
        case truncatedAt:
            return ("truncated", #"{"reason": "time limit", "limit": 3600}"#)
        default:
            let message = Filler.text(version &* 31, length: 150)
            return ("progress", #"{"completed": \#(version - 1), "message": "\#(message)", "runs": [\#(run)]}"#)
        }
    }

    private var run: String {
        #"{"run_index": \#(version), "variables": {"fast": \#(version), "slow": 50}, "metrics": {"sharpe": 1.25}}"#
    }
}

/// A file that is written piece by piece.
private struct OutputFile {
    private let handle: FileHandle
    private(set) var written = 0
    var bytes: [UInt8] = []

    init(_ url: URL) throws {
        guard FileManager.default.createFile(atPath: url.path, contents: nil) else {
            throw BenchFailure("cannot write \(url.path)")
        }
        handle = try FileHandle(forWritingTo: url)
    }

    mutating func flush() throws {
        try handle.write(contentsOf: bytes)
        written += bytes.count
        bytes.removeAll(keepingCapacity: true)
    }
}
