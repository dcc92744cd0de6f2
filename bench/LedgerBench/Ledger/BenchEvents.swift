import EventStore
import Foundation
import LedgerCore

/// An event that the ledger appends and the baseline copies: the same row for both.
struct BenchEvent: Sendable {
    var id: EventID
    var job: JobID
    var version: Int32
    var type: String
    var data: String
    var total: Int32 = 0

    var request: AppendRequest { AppendRequest(job: job, events: [NewEvent(type: type, data: data, id: id)]) }

    static let copyColumns =
        "position, event_id, category, stream_id, version, type, data, metadata, recorded_at, total, completed"

    /// The `completed` of a progress event, in COPY's text format.
    private var completed: Substring {
        guard type == "progress" else { return #"\N"# }
        return data.drop { !$0.isNumber }.prefix { $0.isNumber }
    }

    /// Appends the row in COPY's text format. The data in this benchmark needs no escapes.
    func appendCopyLine(position: Position, recordedAt: String, to bytes: inout [UInt8]) {
        bytes += "\(position)\t\(id.text)\tjob\t\(job)\t\(version)\t\(type)\t".utf8
        bytes += data.utf8
        bytes += "\t{}\t\(recordedAt)\t\(total)\t\(completed)\n".utf8
    }
}

/// Text that differs between events and is cheap to make.
enum Filler {
    private static let text: [UInt8] = {
        var random = SplitMix(state: 7)
        return (0..<65_536).map { _ in Array("0123456789abcdef ".utf8)[Int(random.next() % 17)] }
    }()

    static func bytes(_ number: Int, length: Int) -> ArraySlice<UInt8> {
        let start = abs((number &* 7919) % (text.count - length))
        return text[start..<start + length]
    }

    static func text(_ number: Int, length: Int) -> String {
        String(decoding: bytes(number, length: length), as: UTF8.self)
    }

    /// The data of a progress event. Together with the other columns a row has about 350 bytes on
    /// disk.
    static func progress(_ completed: Int) -> String {
        #"{"completed": \#(completed), "message": "\#(text(completed, length: 200))"}"#
    }
}

/// A small seeded generator, so that every run has the same events.
struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = (state ^ (state >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

/// Progress events of some jobs in turn, with the positions and versions that they get in a log of
/// their own.
actor ProgressSource {
    private let jobs: [JobID]
    private var count = 0
    /// The position of the next event, after the queued events.
    private var position: Position

    init(jobs: [JobID]) {
        self.jobs = jobs
        position = Position(jobs.count)
    }

    static func jobs(_ count: Int) -> [JobID] { (0..<count).map { JobID("backtest-\($0)") } }

    func next(_ number: Int) -> [BenchEvent] {
        defer { count += number }
        return (count..<count + number).map { index in
            BenchEvent(
                id: .version7(), job: jobs[index % jobs.count], version: Int32(index / jobs.count) + 2,
                type: "progress",
                data: Filler.progress(index))
        }
    }

    /// The next events in chunks, each the text of one COPY.
    func nextCopied(chunks: Int, of size: Int = 1000) -> [[UInt8]] {
        (0..<chunks).map { _ in
            let recordedAt = Timestamp.now.description
            var bytes: [UInt8] = []
            for event in next(size) {
                position += 1
                event.appendCopyLine(position: position, recordedAt: recordedAt, to: &bytes)
            }
            return bytes
        }
    }
}

extension Timestamp {
    static var now: Timestamp { Timestamp(microseconds: Int64(Date().timeIntervalSince1970 * 1_000_000)) }
}
