import ArgumentParser
import EventStore
import LedgerCore
import LedgerSettings
import Seal
import TransparencyLog

struct AuditVerify: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Recompute the seal from the events, and name each event that was tampered with.",
        discussion: """
            Finds events that were altered, removed, added or moved without the ledger, whoever did it. The verifier \
            key comes from --key or from JOBLEDGER_SEAL_VERIFIER. Without a key the ledger's own checkpoints are \
            trusted; then only a checkpoint kept elsewhere (--against) reveals a history that was rewritten as a \
            whole. Exit code 1 if anything is found.

            Where a failover or a restore has lost sealed events, and the key that sealed them has signed that (audit \
            seal --after-loss), that is shown as a fork. The key of before is enough to check what was sealed since: \
            it has named the one that goes on.

            EXAMPLE
              jobledger audit verify
              jobledger audit verify --key ledger.vkey --against checkpoint --json
              jobledger audit verify --from 2026-11-23T20:00:00Z --to 2026-11-24T20:00:00Z
            """)

    @Option(
        help: ArgumentHelp(
            "The first event to check: a position, or a time in RFC 3339.", valueName: "position|time"),
        transform: LogMoment.option("--from"))
    var from: LogMoment?

    @Option(help: ArgumentHelp("The last event.", valueName: "position|time"), transform: LogMoment.option("--to"))
    var to: LogMoment?

    @Option(help: ArgumentHelp("The verifier key, in a file.", valueName: "file"))
    var key: String?

    @Option(
        help: ArgumentHelp(
            "A checkpoint kept outside the database, which the log must continue. May be given several times.",
            valueName: "file"))
    var against: [String] = []

    @Option(help: ArgumentHelp("Compare the events with the checkpoint and tiles in this directory.", valueName: "dir"))
    var tiles: String?

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if !against.isEmpty, from != nil || to != nil {
            throw ValidationError("--against needs the whole log: do not give --from or --to with it.")
        }
    }

    private struct Answer: Encodable {
        struct Bad: Encodable {
            var position: Position
            var until: Position?
            var kind: String
            var message: String
        }
        /// Where a sealed history has ended, because the ledger lost events.
        struct Fork: Encodable {
            var ended: String
            var size: Position
            var epoch: String
            /// The events up to here are in both histories.
            var shared: Position
            var nextEpoch: String
            var nextKey: String
            /// Whether it is proved that they are the same up to there.
            var proved: Bool
        }
        var ok: Bool
        /// The last sealed position.
        var position: Position
        var head: Position
        var from: Position?
        var to: Position?
        var key: String?
        var bad: [Bad]
        var forks: [Fork]
        /// The number of findings that are not listed.
        var more: Int?
    }

    func run() async throws {
        let settings = try await options.settings()
        let key = try settings.verifierKey(key)
        let checkpoints = try against.map { try Self.checkpoint($0, signedBy: key) }
        let store = try settings.store()
        let first = if let from { try await store.firstPosition(from: from) } else { Position(1) }
        let last = if let to { try await store.position(of: to) } else { Position.max }
        var bar = ProgressBar("verifying", unit: "events")
        let verification = SealVerification(
            store, key: key, against: checkpoints, directory: tiles.map { TileDirectory(path: $0) })
        let answer = try await settings.followingLeader {
            try await verification.run(from: first, to: last) { bar.update($0, of: $1) }
        }
        bar.finish()
        await store.close()
        if options.json { try printJSON(answer) } else { try print(answer) }
        if !answer.isClean { throw Failure.refused }
    }

    /// The checkpoint in a file, refused if the key did not sign it: a forged checkpoint, or one of
    /// another log, says nothing about this log.
    private static func checkpoint(_ file: String, signedBy key: VerifierKey?) throws -> SignedCheckpoint {
        let checkpoint = try CheckpointFile.required(file)
        do {
            if let key { try checkpoint.verify(by: key) }
        } catch {
            Output.diagnostic("jobledger: \(file): \(error)")
            throw Failure.refused
        }
        return checkpoint
    }

    private func printJSON(_ answer: SealVerification.Answer) throws {
        let bad = answer.findings.map { finding in
            let (first, last) = (finding.positions.lowerBound, finding.positions.upperBound)
            return Answer.Bad(
                position: first, until: last == first ? nil : last, kind: finding.kind.rawValue,
                message: finding.message)
        }
        try Output.json(
            Answer(
                ok: answer.isClean, position: answer.position, head: answer.head, from: answer.checked?.lowerBound,
                to: answer.checked?.upperBound, key: answer.key.map { "\($0)" }, bad: bad,
                forks: answer.forks.map {
                    .init(
                        ended: $0.ended.origin.text, size: $0.ended.size, epoch: $0.endedEpoch.text, shared: $0.shared,
                        nextEpoch: $0.epoch.text, nextKey: "\($0.successor)", proved: $0.proof != nil)
                },
                more: answer.more > 0 ? answer.more : nil))
    }

    private func print(_ answer: SealVerification.Answer) throws {
        for finding in answer.findings {
            let (first, last) = (finding.positions.lowerBound, finding.positions.upperBound)
            let place = first == last ? "position \(first)" : "positions \(first)–\(last)"
            try Output.line("\(finding.kind.rawValue.padded(to: 12))\(place): \(Output.printable(finding.message))")
        }
        if answer.more > 0 { try Output.line("and \(answer.more) more") }
        for fork in answer.forks { try Output.line("fork: " + Output.printable(fork.summary)) }
        let checked = answer.checked.map {
            "\($0.count) events were checked, from position \($0.lowerBound) to \($0.upperBound)"
        }
        try Output.line(checked ?? "there are no events to check")
        let unsealed = max(0, answer.head - answer.position)
        try Output.line(
            "sealed up to position \(answer.position)"
                + (unsealed > 0 ? "; the \(unsealed) events after it are not protected yet" : ""))
        let isLoss = answer.more == 0 && answer.findings.allSatisfy { $0.kind == .lost }
        try Output.line(
            answer.isClean
                ? "no tampering was found"
                : isLoss ? "no tampering was found, but a loss: see above" : "TAMPERING WAS FOUND: see above")
        if let key = answer.key {
            try Output.line("signed by \(key.name)")
        } else {
            Output.diagnostic(
                "The signature was not checked, because no verifier key was given (--key, "
                    + "JOBLEDGER_SEAL_VERIFIER): the ledger's own checkpoints were trusted.")
        }
    }
}
