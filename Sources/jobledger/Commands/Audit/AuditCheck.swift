import ArgumentParser
import Foundation
import LedgerCore
import LedgerSettings
import PrivateFiles
import Seal
import TransparencyLog

struct AuditCheck: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check",
        abstract: "Check a proof, without the ledger.",
        discussion: """
            Takes what audit prove and audit consistency write. It needs only the file and the verifier key, from \
            --key or from JOBLEDGER_SEAL_VERIFIER. Get the key from someone you trust, not from whoever brings the \
            proof. Exit code 1 if the proof does not hold.

            EXAMPLE
              jobledger audit check failed.tlog-proof --key ledger.vkey
              jobledger audit check backtest-7.tlog-proof --key ledger.vkey --whole
              jobledger audit check update --after checkpoint --key ledger.vkey
            """)

    @Argument(help: "The file with the proof, or - for standard input.")
    var file: String

    @Option(help: ArgumentHelp("The verifier key, in a file.", valueName: "file"))
    var key: String?

    @Flag(help: "Require the proofs to be all events of a job that has ended. Only jobs can be shown to have ended.")
    var whole = false

    @Option(help: ArgumentHelp("The older checkpoint, for a consistency proof.", valueName: "file"))
    var after: String?

    @Flag(help: "Answer in JSON.")
    var json = false

    private struct Answer: Encodable {
        var ok = true
        var log: ExactText
        /// The size of the tree that the checkpoint signs.
        var size: Int64
        /// The stream whose events these are: the job, or the stream of another category.
        var job: JobID?
        var category: String?
        var stream: JobID?
        /// Whether the proofs cover all events of a job that has ended.
        var whole: Bool?
        var events: [SealedEvent]?
        var after: Int64?
    }

    func run() async throws {
        let key = try LedgerSettings().requireVerifierKey(key)
        let text = try read()
        do {
            let answer = text.hasPrefix("old ") ? try update(text, key) : try proofs(text, key)
            if json { try Output.json(answer) } else { try print(answer) }
        } catch let error as ValidationError {
            throw error
        } catch {
            Output.diagnostic("\(file) does not hold: \(Output.printable("\(error)"))")
            throw Failure.refused
        }
    }

    private func read() throws -> String {
        do {
            let source = try ReadableFile.named(file)
            guard let text = String(utf8: try source.readAll(limit: Self.mostBytes)[...]) else {
                throw FileFailure("\(source.name) is not UTF-8, so it is not a proof")
            }
            return text
        } catch {
            throw ValidationError("\(error).")
        }
    }

    /// Enough for the proofs of a job with very many large events.
    private static let mostBytes = 1 << 30

    private func proofs(_ text: String, _ key: VerifierKey) throws -> Answer {
        if after != nil { throw ValidationError("--after is for a consistency proof, but \(file) proves events.") }
        let proofs = try EventProof.list(text)
        for proof in proofs { try proof.check(by: key) }
        let head = proofs[0].proof.checkpoint.head
        var answer = Answer(log: head.origin, size: head.size, events: proofs.map(\.event))
        if whole || proofs.count > 1 {
            let (stream, extent) = try StreamProof.extent(proofs)
            (answer.job, answer.category, answer.stream) = stream.members
            // No proof shows which types end a stream of another category.
            if stream.category == .job { answer.whole = extent == .whole }
            if whole, case .upTo(let position) = extent {
                throw EventProof.NotProved(
                    stream.category == .job
                        ? "the job \(stream.id) had not ended by position \(position): later events are not in the "
                            + "proofs"
                        : "proofs do not show whether the \(stream.category) \(stream.id) has ended: the ledger "
                            + "declares which types end it. These are all its events up to position \(position)")
            }
        }
        return answer
    }

    private func update(_ text: String, _ key: VerifierKey) throws -> Answer {
        guard let after else {
            throw ValidationError("\(file) is a consistency proof: also give the older checkpoint (--after FILE).")
        }
        let old = try CheckpointFile.required(after)
        try old.verify(by: key)
        let update = try CheckpointUpdate(text)
        try update.checkpoint.verify(by: key)
        guard update.continues(old.head) else {
            throw EventProof.NotProved(
                "the log of \(update.checkpoint.head.size) events does not continue that of \(old.head.size)")
        }
        return Answer(log: old.head.origin, size: update.checkpoint.head.size, after: old.head.size)
    }

    private func print(_ answer: Answer) throws {
        for event in answer.events ?? [] {
            try Output.line("position \(event.position), recorded \(event.recordedAt)")
            let actor = event.metadata.flatMap { JSONText.text("actor", in: $0) }
            try Output.line(
                Output.printable(
                    "  \(event.category) \(event.streamID), version \(event.version): \(event.type)"
                        + (actor.map { " by \($0)" } ?? "")))
            try Output.line(
                "  data      \(Output.printable(event.data ?? "withheld, SHA-256 \(event.dataSHA256 ?? "")"))")
            try Output.line(
                "  metadata  \(Output.printable(event.metadata ?? "withheld, SHA-256 \(event.metadataSHA256 ?? "")"))")
        }
        if let last = answer.events?.last, answer.job ?? answer.stream != nil {
            let all = "these \(last.version) events are all events of the \(last.category) \(last.streamID)"
            try Output.line(
                Output.printable(
                    answer.whole == true
                        ? "\(all), which ended with the last"
                        : "\(all) up to position \(last.position)"
                            + (answer.job == nil ? "" : "; by then it had not ended")))
        }
        if let after = answer.after {
            try Output.line("the log of \(answer.size) events continues that of \(after): nothing in it was changed")
        }
        try Output.line("the proof holds: signed by \(answer.log), for \(answer.size) events")
    }
}
