import LedgerCore
import Testing

@testable import Feed

private typealias Machine = Delivery<Int64>

extension Delivery<Int64> {
    fileprivate static func received(
        _ number: Int64, follows: Int64? = nil, isWanted: Bool = true, isLast: Bool = false
    )
        -> Received
    {
        Received(
            mark: Mark(number: number, position: number), follows: follows ?? number - 1,
            event: isWanted ? number : nil,
            bytes: 10,
            isLast: isLast)
    }

    fileprivate static func page(
        _ events: [Int64], through: Int64? = nil, hasMore: Bool = false, isLast: Bool = false
    ) -> Page {
        let number = through ?? events.last ?? 0
        return Page(events: events, through: Mark(number: number, position: number), hasMore: hasMore, isLast: isLast)
    }

    fileprivate var taken: [Int64] {
        mutating get {
            guard case .take(let events) = nextStep() else { return [] }
            return events
        }
    }
}

/// What every input does in every state.
@Suite struct DeliveryTests {
    /// The machines know everything up to 10, and buffer at most 2 events.
    private static let states: [(name: String, make: @Sendable () -> Machine)] = [
        ("catch-up", { Machine(after: .init(number: 10, position: 10), maxEvents: 2, maxBytes: 1000) }),
        ("catch-up, ready", { after("live, full") { _ = $0.receive(Machine.received(13)) } }),
        ("reading", { after("catch-up") { _ = $0.nextStep() } }),
        ("reading, 11 held", { after("reading") { _ = $0.receive(Machine.received(11)) } }),
        (
            "reading, no room",
            {
                after("reading, 11 held") { machine in
                    for number in 12...13 { _ = machine.receive(Machine.received(Int64(number))) }
                }
            }
        ),
        ("reading, announced 12", { after("reading") { _ = $0.announce(upTo: 12, shouldBeKnown: true) } }),
        (
            "reading, announced 12 late",
            {
                after("reading, announced 12") {
                    _ = $0.finishRead(Machine.page([], through: 9))
                    _ = $0.nextStep()
                }
            }
        ),
        ("reading, a gap suspected", { after("reading") { _ = $0.suspectGap() } }),
        ("live", { after("reading") { _ = $0.finishRead(Machine.page([], through: 10)) } }),
        ("live, waiting", { after("live") { _ = $0.nextStep() } }),
        (
            "live, full",
            {
                after("live") { machine in
                    for number in 11...12 { _ = machine.receive(Machine.received(Int64(number))) }
                }
            }
        ),
        ("ended, ready", { after("live") { _ = $0.receive(Machine.received(11, isLast: true)) } }),
        ("ended", { after("ended, ready") { _ = $0.nextStep() } }),
        ("stopped, ready", { after("live, full") { _ = $0.stop() } }),
        ("stopped", { after("live") { _ = $0.stop() } }),
    ]

    private static func after(_ name: String, _ change: (inout Machine) -> Void) -> Machine {
        var machine = states.first { $0.name == name }!.make()
        change(&machine)
        return machine
    }

    /// Each input, and what it returns as text: `!` if it wakes the consumer, or the consumer's
    /// next step.
    private static let inputs: [(name: String, give: @Sendable (inout Machine) -> String)] = [
        ("receive 11", { woken($0.receive(Machine.received(11))) }),
        ("receive 10", { woken($0.receive(Machine.received(10))) }),
        ("receive 15", { woken($0.receive(Machine.received(15))) }),
        ("receive 15 after 9", { woken($0.receive(Machine.received(15, follows: 9))) }),
        ("receive 11, not wanted", { woken($0.receive(Machine.received(11, isWanted: false))) }),
        ("receive 11, the last", { woken($0.receive(Machine.received(11, isLast: true))) }),
        ("announce 10", { woken($0.announce(upTo: 10, shouldBeKnown: true)) }),
        ("announce 15", { woken($0.announce(upTo: 15, shouldBeKnown: true)) }),
        ("announce 15, not published", { woken($0.announce(upTo: 15, shouldBeKnown: false)) }),
        ("suspect a gap", { woken($0.suspectGap()) }),
        ("stop", { woken($0.stop()) }),
        (
            "next",
            {
                switch $0.nextStep() {
                case .take(let events): " take \(events.map(String.init).joined(separator: " "))"
                case .read(let mark): " read after \(mark.number)"
                case .wait: " wait"
                case .end(let stopped): stopped ? " stopped" : " end"
                }
            }
        ),
        ("read nothing", { seen(&$0, Machine.page([], through: 10)) }),
        ("read 11", { seen(&$0, Machine.page([11], through: 11)) }),
        ("read 11 12 and more", { seen(&$0, Machine.page([11, 12], hasMore: true)) }),
        ("read 11, the last", { seen(&$0, Machine.page([11], isLast: true)) }),
        (
            "read failed",
            {
                $0.readFailed()
                return ""
            }
        ),
    ]

    private static func woken(_ isWoken: Bool) -> String { isWoken ? "!" : "" }
    private static func seen(_ machine: inout Machine, _ page: Machine.Page) -> String {
        machine.finishRead(page) ? "" : " nothing"
    }

    private static func text(_ machine: Machine) -> String {
        let phase =
            switch machine.phase {
            case .catchUp: "catch-up"
            case .reading(let held): "reading" + (held.received.isEmpty ? "" : "(\(held.received.count))")
            case .live: "live"
            case .ended: "ended"
            }
        let ready = machine.ready.isEmpty ? "" : " ready " + machine.ready.map(String.init).joined(separator: " ")
        let tally = machine.tally
        let lacking = machine.announced > machine.known.number ? " of \(machine.announced)" : ""
        return "\(phase) \(machine.known.number)\(lacking)\(ready)" + (tally.gaps > 0 ? " gap" : "")
            + (tally.overflows > 0 ? " overflow" : "")
    }

    /// For each state and each input that changes or returns something: the state afterwards. All
    /// other inputs leave the state as it was.
    @Test func everyInputInEveryState() {
        var lines: [String] = []
        for state in Self.states {
            let before = Self.text(state.make())
            lines.append("\(state.name): \(before)")
            for input in Self.inputs {
                var machine = state.make()
                let said = input.give(&machine)
                let after = Self.text(machine)
                if said != "" || after != before { lines.append("  \(input.name) → \(after)\(said)") }
            }
        }
        let expected = deliveryTable.split(separator: "\n").map(String.init)
        #expect(lines.count == expected.count)
        for (line, wanted) in zip(lines, expected) where line != wanted {
            Issue.record("«\(line)» should be «\(wanted)»")
        }
    }

    /// Events that were held during a read follow the page, as long as there is no gap.
    @Test func joinsWhatIsHeldBehindThePage() {
        func joined(_ page: Machine.Page, _ numbers: Int64...) -> (taken: [Int64], text: String) {
            var machine = Machine(after: .init(number: 10, position: 10), maxEvents: 9, maxBytes: 1000)
            _ = machine.nextStep()
            for number in numbers { _ = machine.receive(Machine.received(number)) }
            _ = machine.finishRead(page)
            let text = Self.text(machine)
            return (machine.taken, text)
        }
        #expect(joined(Machine.page([11, 12]), 11, 12, 13, 14).taken == [11, 12, 13, 14])
        #expect(joined(Machine.page([11, 12]), 12, 11, 13, 13).taken == [11, 12, 13])
        #expect(joined(Machine.page([11, 12]), 13, 15, 14).text == "catch-up 13 of 15 ready 11 12 13 gap")
        #expect(joined(Machine.page([11, 12], hasMore: true), 13).text == "catch-up 12 of 13 ready 11 12")
        #expect(joined(Machine.page([11, 12], through: 20), 13, 21).taken == [11, 12, 21])
    }

    /// A held event cannot hide one that was dropped before the read: the page of a replica that
    /// lags does not count as complete.
    @Test func aLateReplicaDoesNotCount() {
        var machine = Machine(after: .init(number: 10, position: 10), maxEvents: 9, maxBytes: 1000)
        _ = machine.receive(Machine.received(12))
        _ = machine.nextStep()
        _ = machine.receive(Machine.received(14, follows: 5))
        var isNews = machine.finishRead(Machine.page([11]))
        #expect(isNews && Self.text(machine) == "catch-up 11 of 14 ready 11")
        #expect([machine.taken] == [[11]])
        _ = machine.nextStep()
        isNews = machine.finishRead(Machine.page([], through: 11))
        #expect(!isNews)
        _ = machine.nextStep()
        isNews = machine.finishRead(Machine.page([12, 13, 14]))
        #expect(isNews && Self.text(machine) == "live 14 ready 12 13 14")
    }

    /// A page does not use up the room for received events: a full page and the events after it are
    /// no overflow.
    @Test func theBufferIsBoundedByEventsAndBytes() {
        for (events, bytes, room) in [(5, 1000, 5), (100, 31, 4)] {
            var machine = Machine(after: .init(number: 0, position: 0), maxEvents: events, maxBytes: bytes)
            _ = machine.nextStep()
            _ = machine.finishRead(Machine.page(Array(1...50)))
            for number in 51...80 { _ = machine.receive(Machine.received(Int64(number))) }
            #expect(machine.ready.count == 50 + room && machine.tally.overflows == 1)
            #expect(machine.taken == Array(1...Int64(50 + room)))
            guard case .read(let mark) = machine.nextStep() else {
                Issue.record("no read is due")
                return
            }
            #expect(mark.number == Int64(50 + room))
        }
    }

    @Test func countsWhatIsReadAgain() {
        var machine = Machine(after: .init(number: 0, position: 0), maxEvents: 9, maxBytes: 1000)
        _ = machine.nextStep()
        _ = machine.finishRead(Machine.page([1, 2, 3]))
        #expect(machine.tally == .init() && machine.taken == [1, 2, 3])
        _ = machine.receive(Machine.received(6))
        _ = machine.nextStep()
        _ = machine.finishRead(Machine.page([4, 5, 6]))
        #expect(machine.tally == .init(gaps: 1, refilled: 3, overflows: 0))
    }
}
