import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import PrivateFiles
import Seal
import TransparencyLog

struct AuditProve: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "prove",
        abstract: "Prove that an event, or all of a job or stream, is in the log.",
        discussion: """
            Writes the event, the proof and the signed checkpoint as one text (C2SP tlog-proof). `jobledger audit \
            check` and other programs verify it without the ledger. --job writes the proofs of all events of a job, \
            one after the other, and with --category those of a stream of another category. Versions count from 1 \
            without a gap, so no event of an ended job can be left out.

            EXAMPLE
              jobledger audit prove 1207 --out failed.tlog-proof
              jobledger audit prove --job backtest-7 --out backtest-7.tlog-proof
              jobledger audit prove --category user --job u-1 --out u-1.tlog-proof
              jobledger audit prove 1207 --withhold
            """)

    @Argument(help: "The event: its position or its id.")
    var event: String?

    @Option(help: "All events of this job, or with --category of this stream.")
    var job: JobID?

    @Option(
        help: ArgumentHelp("The category of the stream. Default: job.", valueName: "category"),
        transform: CategoryOption.category)
    var category: Category?

    /// The stream whose events are to be proved.
    private var stream: StreamKey? { job.map { StreamKey(category ?? .job, $0) } }

    @Flag(help: "Write hashes in place of data and metadata, which the receiver must already have.")
    var withhold = false

    @Option(help: ArgumentHelp("Write to this file and not to standard output.", valueName: "file"))
    var out: String?

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if (event == nil) == (job == nil) { throw ValidationError("Give an event, or --job JOB.") }
        if category != nil, job == nil { throw ValidationError("--category goes with --job.") }
        if let event, EventReference(event) == nil {
            throw ValidationError("\(event) is neither a position nor the id of an event (a UUID).")
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        let store = try settings.store(connections: 1)
        let proofs = try await proofs(SealProofs(store))
        await store.close()
        guard let first = proofs.first else {
            Output.diagnostic(
                stream.map { "unknown_job: \($0.shown) has no events" }
                    ?? "unknown_event: there is no such event")
            throw Failure.refused
        }
        try Output.document(proofs.map(\.text).joined(), into: out)
        if let out {
            let events =
                proofs.count == 1
                ? "position \(first.event.position)"
                : "\(proofs.count) events of \(first.event.category) \(first.event.streamID)"
            let size = first.proof.checkpoint.head.size
            Output.diagnostic("\(out) proves \(Output.printable(events)), by the checkpoint of \(size) events")
        }
    }

    private func proofs(_ seal: SealProofs) async throws -> [EventProof] {
        if let stream { return try await seal.proofs(ofStream: stream, isWithheld: withhold) }
        guard let event, let name = EventReference(event) else { return [] }
        return try await seal.proof(of: name, isWithheld: withhold).map { [$0] } ?? []
    }
}

extension Output {
    /// Writes a text to a file, or to standard output if `file` is `nil`. Only the owner may read
    /// the file, because the text contains events.
    static func document(_ text: String, into file: String?) throws {
        guard let file else { return try write(Array(text.utf8)) }
        do {
            try WrittenFile.write(text, to: file, mode: 0o600)
        } catch {
            throw ValidationError("--out: \(error).")
        }
    }
}
