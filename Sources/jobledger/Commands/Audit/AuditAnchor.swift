import ArgumentParser
import EventStore
import LedgerSettings
import Logging
import Seal
import TransparencyLog

struct AuditAnchor: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "anchor",
        abstract: "Keep the latest checkpoint outside the database.",
        discussion: """
            Writes the checkpoint to a file, or to an address by HTTP PUT, once or at intervals. It first reads the \
            checkpoint that is there, and replaces it only by one that continues it. If the history was rewritten or \
            rolled back, the command ends with exit code 1 and leaves the kept checkpoint unchanged. \
            JOBLEDGER_ANCHOR_AUTHORIZATION is sent as the header Authorization. Put a file on another machine, or on \
            a medium that cannot be rewritten.

            EXAMPLE
              jobledger audit anchor /mnt/archive/checkpoint
              jobledger audit anchor https://archive.example/ledger/checkpoint --every 60
            """)

    @Argument(help: ArgumentHelp("Where to keep it.", valueName: "file|url"))
    var place: String

    @Option(
        help: ArgumentHelp("Repeat at this interval until interrupted.", valueName: "seconds"),
        transform: NumberOption.integer("--every", 1...31_536_000))
    var every: Int?

    @Option(help: ArgumentHelp("The verifier key, in a file.", valueName: "file"))
    var key: String?

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var position: Int64
        var place: String
    }

    func run() async throws {
        let settings = try await options.settings()
        let address =
            CheckpointAddress.looksLikeAddress(place)
            ? try CheckpointAddress(place, authorization: settings.anchorAuthorization) : nil
        let memory: any WitnessMemory = if let address { address } else { CheckpointFile(path: place) }
        // Shown without the query, which may hold a token.
        let place = address?.name ?? place
        let witness = Witness(key: try settings.verifierKey(key), memory: memory)
        let store = try settings.store(connections: 1)
        let seal = SealProofs(store)
        if let every {
            let logger = settings.logger("anchor")
            logger.info("anchor started", metadata: ["place": "\(place)", "seconds": "\(every)"])
            let body = { @Sendable in try await Self.keep(witness, seal, every: .seconds(every), logger: logger) }
            try await settings.followingLeader { try await settings.serve([Running(body)], logger: logger) }
        } else {
            guard let checkpoint = try await witness.look(at: seal) else {
                Output.diagnostic("nothing is sealed yet: there is no checkpoint to keep (jobledger audit seal)")
                throw Failure.refused
            }
            let answer = Answer(position: checkpoint.head.size, place: place)
            if options.json {
                try Output.json(answer)
            } else {
                try Output.line("\(place) has the checkpoint of \(answer.position) events")
            }
        }
        await store.close()
    }

    /// Anchors at each interval. Errors that may pass, such as a lost connection, are logged. A
    /// rewritten history, a bad signature or an unusable file end it.
    private static func keep(_ witness: Witness, _ seal: SealProofs, every interval: Duration, logger: Logger)
        async throws
    {
        while true {
            do {
                let checkpoint = try await witness.look(at: seal)
                logger.debug("anchored", metadata: ["position": "\(checkpoint?.head.size ?? 0)"])
            } catch let error as HistoryRewritten {
                throw error
            } catch let error as SignedCheckpoint.NotSigned {
                throw error
            } catch let error as CheckpointFile.Failure {
                throw error
            } catch is CancellationError {
                throw CancellationError()
            } catch {
                logger.warning("the checkpoint could not be kept; trying again", metadata: ["error": "\(error)"])
            }
            try await Task.sleep(for: interval)
        }
    }
}
