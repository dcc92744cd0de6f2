import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import PrivateFiles
import Seal

struct Lost: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Name the events that readers or callers had, and that the log has lost.",
        discussion: """
            A failover or a restore can lose the last events, and gives their positions to others. Without FILE, says \
            which positions are known to be lost: from the relay, feeds, durable subscriptions and the sealer, and \
            from the places of --had.

            With FILE, looks for each event of the file by its id: answers to appends, what tail --json has printed, \
            an exported log, results of requests for many jobs, or events to append that have ids, one or more a \
            line. With --append-again, the lost ones are appended again, in the order of the file and under the same \
            ids, if the file has them as a whole. That can be repeated: what is in the log is not written twice.

            Exit code 1 if something is lost, and with --append-again if something of it was not appended. Without \
            FILE, known losses count; with FILE, only its events do.

            EXAMPLE
              jobledger lost
              jobledger lost answers.ndjson tail.ndjson --json
              jobledger lost --had 1207.3f2a9c1e
              jobledger lost --append-again sent.ndjson
            """)

    @Argument(help: ArgumentHelp("Files with remembered events; - for standard input.", valueName: "file"))
    var files: [String] = []

    @Option(
        help: ArgumentHelp(
            "A place that a reader had come to, such as 1207.3f2a9c1e. May be given several times.",
            valueName: "place"),
        transform: NumberOption.place("--had"))
    var had: [Place] = []

    @Flag(help: "Append again what is lost, under the same event ids.")
    var appendAgain = false

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if appendAgain, files.isEmpty {
            throw ValidationError("--append-again needs FILE: the log does not have what it has lost.")
        }
        if let place = had.first(where: { $0.epoch == nil }) {
            throw ValidationError(
                "--had \(place) names no epoch: a position alone does not say which events it means. "
                    + "A place looks like 1207.3f2a9c1e.")
        }
        if files.count(where: { $0 == "-" }) > 1 { throw ValidationError("Standard input (-) can be read once.") }
    }

    func run() async throws {
        let settings = try await options.settings()
        let sources = try files.map { file in
            do {
                return RememberedFile(try ReadableFile.named(file))
            } catch {
                throw ValidationError("\(error).")
            }
        }
        let store = try settings.store()
        let report = LossReport(json: options.json)
        let losses = try await knownLosses(store, settings)
        for loss in losses { try report.print(loss) }
        var totals = LossReport.Totals()
        let comparison = Comparison(store: store, report: report, appendsAgain: appendAgain)
        try await settings.followingLeader {
            for source in sources { try await comparison.run(source, &totals) }
        }
        let log = try await store.logHead()
        try report.finish(files.isEmpty ? nil : totals, losses, log)
        await store.close()
        if files.isEmpty ? !losses.isEmpty : totals.leavesSomething { throw Failure.refused }
    }

    /// What the ledger knows, what the sealer's own record says, and the places of `--had`.
    private func knownLosses(_ store: EventStore, _ settings: LedgerSettings) async throws -> [LossReport.Range] {
        var ranges = try await store.knownLosses().map {
            LossReport.Range(
                reader: $0.reader, place: $0.place, shared: $0.shared, notedAt: $0.notedAt.description)
        }
        var places = had.map { ("--had", $0) }
        if let place = try await settings.sealedPlace() { places.append(("sealer", place)) }
        for (reader, place) in places {
            let shared = try await store.sharedPosition(of: place)
            let isKnown = ranges.contains { $0.reader == reader && $0.place == place }
            if shared < place.position, !isKnown {
                ranges.append(LossReport.Range(reader: reader, place: place, shared: shared, notedAt: nil))
            }
        }
        return ranges.sorted { ($0.shared, $0.place.position, $0.reader) < ($1.shared, $1.place.position, $1.reader) }
    }
}

/// Compares the events of a file with the log, part by part, and appends again what is lost.
private struct Comparison {
    let store: EventStore
    let report: LossReport
    let appendsAgain: Bool

    func run(_ source: RememberedFile, _ totals: inout LossReport.Totals) async throws {
        var bar = ProgressBar("comparing", unit: "kB")
        while let part = try await source.next() {
            for (line, why) in part.unreadable {
                totals.unreadable += 1
                try report.print(unreadable: why, at: .init(file: source.name, line: line))
            }
            let looked = try await store.look(for: part.events)
            var lost: [LossReport.Event] = []
            for ((event, found), line) in zip(zip(part.events, looked), part.lines) {
                totals.compared += 1
                switch found {
                case .there(let position):
                    totals.there += 1
                    if let before = event.position, before != position { totals.elsewhere += 1 }
                case .gone(let inPlace):
                    totals.gone += 1
                    lost.append(
                        .init(event: event, source: .init(file: source.name, line: line), inPlace: inPlace))
                }
            }
            if appendsAgain { try await append(&lost, &totals) }
            for event in lost { try report.print(event) }
            bar.update(part.bytesRead / 1000, of: max(source.size, part.bytesRead) / 1000)
        }
        bar.finish()
    }

    /// Appends those that are there as a whole, in their order.
    private func append(_ lost: inout [LossReport.Event], _ totals: inout LossReport.Totals) async throws {
        let whole = lost.indices.filter { lost[$0].event.request != nil }
        let answers = try await store.append(whole.compactMap { lost[$0].event.request }, timeout: .seconds(60))
        for (index, answer) in zip(whole, answers) {
            switch answer {
            case .success(let appended):
                lost[index].outcome = .appended(appended[0].position)
                totals.appendedAgain += 1
            case .failure(let refusal):
                lost[index].outcome = .refused(refusal)
                totals.refused += 1
            }
        }
        for index in lost.indices where lost[index].event.request == nil {
            lost[index].outcome = .incomplete
            totals.incomplete += 1
        }
    }
}
