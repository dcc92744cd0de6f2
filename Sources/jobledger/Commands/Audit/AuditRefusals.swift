import ArgumentParser
import AuditTrail
import EventStore
import LedgerCore
import LedgerSettings

struct AuditRefusals: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "refusals",
        abstract: "List what the service has refused.",
        discussion: """
            Lists refused appends, and requests whose token is missing or lacks the scope: who, from where, what, and \
            why. The newest come first. Equal refusals within one second are one line with a count.

            EXAMPLE
              jobledger audit refusals --limit 10
              jobledger audit refusals --job backtest-7 --json
              jobledger audit refusals --category user --code not_unique
            """)

    @Option(help: "Only refused events that name this actor.")
    var actor: ExactText?

    @Option(help: "Only requests with the token of this id.")
    var token: ExactText?

    @Option(help: "Only streams of this category. It need not be one that the ledger has.")
    var category: ExactText?

    @Option(help: "Only this job, or with --category this stream.")
    var job: JobID?

    @Option(help: "Only refusals with this code, such as already_ended or unauthorized.")
    var code: ExactText?

    @Option(
        help: ArgumentHelp("Continue after this refusal, the last of the page before.", valueName: "number"),
        transform: NumberOption.position("--after", from: 1))
    var after: Int64?

    @Option(help: "List at most this many.", transform: NumberOption.integer("--limit", 1...100_000))
    var limit = 50

    @OptionGroup var options: LedgerOptions

    private struct Line: Encodable {
        var number: Int64
        var firstAt: String
        var lastAt: String
        var times: Int64
        var token: ExactText?
        var tokenName: String?
        var peer: String?
        var method: String
        var path: String
        var actor: ExactText?
        var category: String?
        var job: JobID?
        var type: String?
        var eventId: String?
        var code: String
        var detail: String
        var notedBy: String?
    }

    func run() async throws {
        let settings = try await options.settings()
        let store = try settings.store(connections: 1)
        var query = RefusalQuery(limit: limit)
        (query.actor, query.token, query.category, query.job) = (actor, token, category, job)
        (query.code, query.after) = (code, after)
        let refusals = try await AuditTrail(store).refusals(query)
        await store.close()
        for refusal in refusals { if options.json { try json(refusal) } else { try print(refusal) } }
        if refusals.isEmpty, !options.json { Output.diagnostic("nothing was refused that meets the conditions") }
        if refusals.count == limit, !options.json, let last = refusals.last {
            Output.diagnostic("there may be more: --after \(last.number)")
        }
    }

    private func json(_ refusal: RecordedRefusal) throws {
        try Output.json(
            Line(
                number: refusal.number, firstAt: "\(refusal.firstAt)", lastAt: "\(refusal.lastAt)",
                times: refusal.times, token: refusal.token, tokenName: refusal.tokenName, peer: refusal.peer,
                method: refusal.method, path: refusal.path, actor: refusal.actor, category: refusal.category,
                job: refusal.job, type: refusal.type, eventId: refusal.eventID?.text, code: refusal.code,
                detail: refusal.detail, notedBy: refusal.notedBy))
    }

    private func print(_ refusal: RecordedRefusal) throws {
        var who = [
            refusal.actor?.text, refusal.tokenName.map { "token \($0)" } ?? refusal.token.map { "token \($0)" },
            refusal.peer,
        ]
        .compactMap { $0 }
        if who.isEmpty { who = ["somebody"] }
        // Of a job the id alone, as everywhere on the command line.
        let stream = refusal.job.map { id in
            refusal.category.map { $0 == "job" ? id.text : "\($0) \(id.text)" } ?? id.text
        }
        let what = [refusal.type, stream].compactMap { $0 }.joined(separator: " of ")
        let times = refusal.times > 1 ? " ×\(refusal.times)" : ""
        try Output.line(
            Output.printable(
                "\(TrailTable.seconds(refusal.firstAt))  \(refusal.code)\(times)  \(who.joined(separator: ", "))  "
                    + (what.isEmpty ? "\(refusal.method) \(refusal.path)" : what)))
        try Output.line(Output.printable("                     \(TrailTable.cut(refusal.detail, 100))"))
    }
}
