import ArgumentParser
import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import PrivateFiles

struct Append: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Append an event, or a file of them.",
        discussion: """
            TYPE is queued, progress, truncated, finished or failed; with --category, a type of that category. A \
            refused event is not written, and the exit code is 1. With --event-id a retry is safe: an event that is \
            already in the log is answered with its original position.

            A file has one JSON object a line: \
            {"job","type","data","event_id"?,"expected_version"?,"metadata"?,"occurred_at"?}. An event of another \
            category has "category" and "stream" in place of "job". Each line is appended on its own: refused lines \
            are listed, and the others are appended.

            EXAMPLE
              jobledger append backtest-7 queued --data '{"name": "SMA", "total": 400}'
              jobledger append backtest-7 progress --data @progress.json --actor ada
              jobledger append backtest-7 finished --expected-version 2 --durability quorum
              jobledger append --category user u-1 registered --data @ada.json
              jobledger append --file events.ndjson
            """)

    @Argument(help: "The job's id, or that of the stream of another category.")
    var job: JobID?

    @Argument(help: "The event's type.")
    var type: String?

    @Option(
        help: ArgumentHelp("The category of the stream: job, unless it is given.", valueName: "category"),
        transform: CategoryOption.category)
    var category: Category?

    @Option(
        help: ArgumentHelp(
            "The event's data: a JSON object, @FILE, or - for standard input.", valueName: "json|@file|-"))
    var data = "{}"

    @Option(help: ArgumentHelp("Append the lines of a file, or of standard input (-).", valueName: "file|-"))
    var file: String?

    @Option(help: "The event's id, a UUID. Send the same id when you retry.")
    var eventID: String?

    @Option(
        help: ArgumentHelp(
            "The version that the job or stream must have; none: it must not exist.", valueName: "n|none|any"))
    var expectedVersion: String?

    @Option(help: "Who or what appends the event.")
    var actor: ExactText?

    @Option(help: "What the event belongs to, such as the id of a request.")
    var correlationID: ExactText?

    @Option(help: "What caused the event, such as the id of another event.")
    var causationID: ExactText?

    @Option(help: "Where the event comes from, such as a host or a notebook.")
    var source: String?

    @Option(help: "When the event happened, if not now: a time in RFC 3339.")
    var occurredAt: String?

    @Option(
        help: ArgumentHelp("Wait until each event has reached this level.", valueName: "local|quorum"),
        transform: DurabilityOption.level)
    var durability = Durability.local

    @OptionGroup var options: LedgerOptions

    private struct Answer: Encodable {
        var position: Position
        var version: Int32
        var eventId: String
        var duplicate: Bool
        var durability: String
    }

    struct ErrorAnswer: Encodable {
        struct Body: Encodable {
            var code: String
            var message: String
        }
        var error: Body

        init(_ refusal: Refusal) { error = Body(code: refusal.code.rawValue, message: refusal.message) }
    }

    func validate() throws {
        if file == nil, job == nil || type == nil { throw ValidationError("Give a JOB and a TYPE, or --file.") }
        guard file != nil else { return }
        if job != nil { throw ValidationError("With --file, give no JOB: each line names its job and type.") }
        let ofOneEvent = [
            category?.text, eventID, expectedVersion, actor?.text, correlationID?.text, causationID?.text, source,
            occurredAt,
        ]
        if data != "{}" || ofOneEvent.contains(where: { $0 != nil }) {
            throw ValidationError(
                "With --file, each line says everything about its event: only --json and --data-dir may be added.")
        }
    }

    func run() async throws {
        let settings = try await options.settings()
        let store = try settings.store()
        if let file {
            try await settings.followingLeader { try await appendLines(of: file, to: store) }
        } else if let job, let type {
            try await append(try event(type), to: job, in: store)
        }
        await store.close()
    }

    private func append(_ event: NewEvent, to job: JobID, in store: EventStore) async throws {
        do {
            let appended = try await store.append(
                event, to: job, of: category ?? .job, expectedVersion: try version(), atLeast: durability,
                timeout: .seconds(5),
                callTimeout: .seconds(30))
            if options.json {
                return try Output.json(
                    Answer(
                        position: appended.position, version: appended.version, eventId: appended.eventID.text,
                        duplicate: appended.isDuplicate, durability: appended.durability.rawValue))
            }
            let again = appended.isDuplicate ? ", appended before" : ""
            try Output.line(
                "position \(appended.position), version \(appended.version)\(again), event \(appended.eventID.text)")
        } catch let refusal as Refusal {
            if options.json { try Output.json(ErrorAnswer(refusal)) } else { Output.diagnostic("refused: \(refusal)") }
            throw Failure.refused
        } catch  where error is OutcomeUnknown || error is NotDurable {
            Output.diagnostic(
                "to retry safely, run the same command with --event-id \(event.id.text): the event is written once")
            throw error
        }
    }

    private func event(_ type: String) throws -> NewEvent {
        let id = try eventID.map { text in
            guard let id = EventID(text: text) else {
                throw ValidationError(
                    "--event-id must be a UUID such as \(EventID.version7().text), not \(NumberOption.quoted(text)).")
            }
            return id
        }
        let moment = try occurredAt.map { text in
            guard let moment = Timestamp(text) else {
                throw ValidationError("--occurred-at \(Timestamp.problem(with: text)).")
            }
            return moment
        }
        return NewEvent(type: type, data: try readData(), metadata: metadata, id: id ?? .version7(), occurredAt: moment)
    }

    private var metadata: String {
        let members = [
            ("actor", actor?.text), ("correlation_id", correlationID?.text), ("causation_id", causationID?.text),
            ("source", source),
        ]
        .compactMap { name, value in value.map { (name, $0) } }
        var json: [UInt8] = []
        for (name, value) in members {
            json += (json.isEmpty ? "\"\(name)\":" : ",\"\(name)\":").utf8
            json.appendJSON(string: value)
        }
        return "{" + String(decoding: json, as: UTF8.self) + "}"
    }

    private func readData() throws -> String {
        guard data == "-" || data.hasPrefix("@") else { return data }
        do {
            let file = try data == "-" ? ReadableFile.named("-") : ReadableFile(String(data.dropFirst()))
            let content = try file.readAll(limit: Self.mostData)
            guard let text = String(utf8: JSONText.behindByteOrderMark(content[...])) else {
                throw FileFailure("\(file.name) is not UTF-8: save it as UTF-8, or convert it with iconv")
            }
            return text
        } catch {
            throw ValidationError("--data: \(error).")
        }
    }

    /// The most bytes of data that are read. It is far above the ledger's limit, so that data which
    /// is a little too large gets the ledger's own refusal.
    private static let mostData = 64 << 20

    private func version() throws -> Int32? {
        guard let expectedVersion else { return nil }
        if expectedVersion == "none" { return 0 }
        if expectedVersion == "any" { return nil }
        guard let version = Int32(decimal: expectedVersion), version >= 0 else {
            throw ValidationError(
                "--expected-version must be a number from 0 to \(Int32.max), none (no event must be there yet) or any, "
                    + "not \(NumberOption.quoted(expectedVersion)).")
        }
        return version
    }

    // MARK: Files

    private struct FileAnswer: Encodable {
        struct Refused: Encodable {
            var line: Int
            var code: String
            var message: String
        }
        var appended = 0
        var duplicates = 0
        var refused: [Refused] = []

        mutating func take(_ reply: AppendAnswer, line: Int) {
            switch reply {
            case .success(let events) where events[0].isDuplicate: duplicates += 1
            case .success: appended += 1
            case .failure(let refusal): refuse(line, refusal)
            }
        }

        mutating func refuse(_ line: Int, _ refusal: Refusal) {
            refused.append(Refused(line: line, code: refusal.code.rawValue, message: refusal.message))
        }
    }

    private func appendLines(of file: String, to store: EventStore) async throws {
        let source: ReadableFile
        do {
            source = try ReadableFile.named(file)
        } catch {
            throw ValidationError("--file: \(error).")
        }
        let size = source.size ?? 0
        let events = EventFile(source)
        var answer = FileAnswer()
        var bar = ProgressBar("appending", unit: "kB")
        // The line numbers of the requests that have no answer yet.
        var lines: ArraySlice<Int> = []
        var bytesRead: Int64 = 0
        try await store.append(
            inOrder: {
                guard let part = try await events.next() else { return nil }
                for (line, refusal) in part.refused { answer.refuse(line, refusal) }
                lines += part.lines
                bytesRead = part.bytesRead
                return part.requests
            }, atLeast: durability, timeout: .seconds(60),
            answered: { answers in
                for reply in answers { answer.take(reply, line: lines.removeFirst()) }
                bar.update(bytesRead / 1000, of: max(size, bytesRead) / 1000)
            })
        bar.finish()
        answer.refused.sort { $0.line < $1.line }

        if options.json {
            try Output.json(answer)
        } else {
            for refused in answer.refused {
                Output.diagnostic(
                    "line \(refused.line): refused: \(refused.code): \(Output.printable(refused.message))")
            }
            try Output.line(
                "\(answer.appended) appended, \(answer.duplicates) duplicates, \(answer.refused.count) refused")
        }
        if !answer.refused.isEmpty { throw Failure.refused }
    }
}
