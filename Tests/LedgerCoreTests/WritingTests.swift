import Foundation
import LedgerCore
import LedgerTesting
import Testing

/// Texts that are written byte by byte equal Foundation's.
@Suite struct WritingTests {
    private let seed = UInt64.random(in: 0...UInt64.max)

    @Test func idsAndTimes() {
        var random = SeededGenerator(seed: seed)
        let calendar = ISO8601DateFormatter()
        for _ in 0..<2_000 {
            let id = UUID()
            #expect(id.text == id.uuidString.lowercased())
            // From the year 0 to the year 9999, whole seconds among them.
            let seconds = Int64(random.below(315_569_433_600)) - 62_167_219_200
            let fraction = random.below(3) == 0 ? 0 : Int64(random.below(1_000_000))
            let moment = Timestamp(microseconds: seconds * 1_000_000 + fraction)
            let text = moment.description
            #expect(Timestamp(text) == moment, "\(text); seed \(seed)")
            #expect(!text.hasSuffix("0Z") || fraction == 0, "\(text)")
            if seconds > -12_219_292_800 {
                // Before 1582 Foundation uses the Julian calendar.
                let whole = calendar.string(from: Date(timeIntervalSince1970: TimeInterval(seconds)))
                #expect(text.hasPrefix(whole.dropLast()), "\(text), not \(whole); seed \(seed)")
            }
        }
    }

    /// Events are appended to the bytes that are there, and the JSON has the event's values.
    @Test func eventsOneBehindTheOther() throws {
        var random = SeededGenerator(seed: seed)
        let jobs: [JobID] = ["job-1", "a \"b\"\n", "🙂\u{1}", "/?#%é", JobID(String(repeating: "x", count: 255))]
        for _ in 0..<500 {
            let events = (0..<3).map { _ in
                RecordedEvent(
                    position: Int64(random.below(1 << 62)), id: UUID(), job: jobs[Int(random.below(5))],
                    version: Int32(random.below(1 << 31)), type: EventType.jobTypes[Int(random.below(5))],
                    data: random.below(4) == 0 ? nil : "{\"n\":\r\n \(random.below(1_000))}",
                    occurredAt: random.below(2) == 0 ? nil : Timestamp(microseconds: Int64(random.below(1 << 51))),
                    recordedAt: Timestamp(microseconds: Int64(random.below(1 << 51))))
            }
            var lines: [UInt8] = []
            for event in events {
                CloudEvent(event, of: .standard).append(to: &lines)
                lines.append(0x0A)
            }
            let read = try lines.split(separator: 0x0A).map {
                try JSONSerialization.jsonObject(with: Data($0)) as? [String: Any]
            }
            try #require(read.count == 3, "seed \(seed)")
            for (event, line) in zip(events, read) {
                let attributes = try #require(line)
                #expect(attributes["position"] as? String == String(event.position))
                #expect(attributes["streamversion"] as? Int == Int(event.version))
                #expect(attributes["id"] as? String == event.id.uuidString.lowercased())
                #expect(attributes["subject"] as? String == event.job.text)
                #expect(attributes["type"] as? String == "io.jobledger.job.\(event.type.rawValue)")
                #expect(attributes["time"] as? String == (event.occurredAt ?? event.recordedAt).description)
                #expect((attributes["data"] == nil) == (event.data == nil))
            }
        }
    }
}
