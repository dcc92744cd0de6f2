import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

@Suite struct LogFileTests {
    /// Fills a log with data that is easily damaged on the way: line feeds, tabs and escapes in
    /// texts, long numbers, repeated keys, emoji; ids with quotes and backslashes.
    static func fill(_ ledger: TestLedger, jobs: Int = 30) async throws {
        let data = [
            "{\"name\" : \"a\\nb\\u00e9\\\\\",\n\t\"total\":\r\n 9 }",
            #"{"name":"x","total":7,"total":9,"strategy":{"e":1.0,"f":1e300,"g":-0.0}}"#,
            #"{"name":"🙂 \ud83d\ude42 \u0001","variables":[{"name":"v","values":[1,2]}]}"#,
        ]
        var requests: [AppendRequest] = []
        for job in 0..<jobs {
            let name = #"job \#(job) "\'🙂\#u{01}"#.replacing("\u{01}", with: "é")
            let metadata = #"{ "actor":"ada","x": [1.50] }"#
            requests.append(
                AppendRequest(job: name, events: [NewEvent(type: "queued", data: data[job % 3], metadata: metadata)]))
            requests.append(
                AppendRequest(
                    job: name,
                    events: [
                        NewEvent(
                            type: "progress", data: "{ \"completed\":\(job % 3)\n,\"runs\":[{\"run_index\":0}]}",
                            occurredAt: Timestamp(microseconds: Int64(job) * 1_234_567))
                    ]))
            requests.append(
                AppendRequest(
                    job: name,
                    events: [
                        NewEvent(
                            type: job % 2 == 0 ? "finished" : "truncated",
                            data: job % 2 == 0 ? "{}" : #"{"reason":"r"}"#)
                    ]))
        }
        for answer in try await ledger.store.append(requests, timeout: .seconds(60)) { _ = try answer.get() }
    }

    static func export(_ ledger: TestLedger, from: Position = 1, to: Position? = nil) async throws -> String {
        let connection = try await ledger.connect()
        var bytes: [UInt8] = []
        let last = if let to { to } else { try await ledger.store.head() }
        _ = try await LogExport(ledger.name).run(from: from, to: last, on: connection) { bytes += $0 }
        await connection.close()
        return String(decoding: bytes, as: UTF8.self)
    }

    static func importing(_ text: String, into ledger: TestLedger) async throws -> LogImport.Receipt {
        let directory = TestServers.directory("log")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        let file = directory.appending(path: "log.ndjson")
        try Data(text.utf8).write(to: file)
        let connections = (try await ledger.connect(), try await ledger.connect())
        let result: Result<LogImport.Receipt, any Error>
        do {
            result = .success(try await LogImport(path: file.path).run(on: connections.0, connections.1))
        } catch {
            result = .failure(error)
        }
        await connections.0.close()
        await connections.1.close()
        return try result.get()
    }

    /// A complete file of these lines, which are its first line and the lines of its events.
    static func whole(_ lines: [String], _ ledger: TestLedger) async throws -> String {
        let text = lines.map { $0 + "\n" }.joined()
        let digest: String = try await ledger.store.pool.withConnection {
            try await $0.query("SELECT encode(sha256(convert_to($1, 'UTF8')), 'hex')", text).only().decode(0)
        }
        return text + #"{"count":\#(lines.count - 1),"sha256":"\#(digest)"}"# + "\n"
    }

    static func rows(_ ledger: TestLedger) async throws -> [String] {
        try await ledger.store.pool.withConnection { connection in
            try await connection.query(
                "SELECT row_to_json(e)::text || e.data || e.metadata FROM events AS e ORDER BY position"
            )
            .map { try $0.decode(0) }
        }
    }

    /// Every column of every event comes back byte for byte, and so does the file. A part can
    /// follow a part. Importing again changes nothing.
    @Test func aLogGoesThereAndBack() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger)
            let head = try await ledger.store.head()
            let (whole, part) = (try await Self.export(ledger), try await Self.export(ledger, to: 40))
            let (overlapping, empty) = (
                try await Self.export(ledger, from: 30), try await Self.export(ledger, from: head + 1)
            )
            #expect(whole == (try await Self.export(ledger)))
            #expect(whole.split(separator: "\n").count == Int(head) + 2)
            try await TestLedger.with { copy async throws in
                #expect(try await Self.importing(part, into: copy).imported == 40)
                #expect(try await Self.importing(part, into: copy).imported == 0)
                // A part may begin right after the end.
                let next = try await Self.export(ledger, from: 41, to: 45)
                #expect(try await Self.importing(next, into: copy).imported == 5)
                #expect(try await Self.importing(next, into: copy).imported == 0)
                #expect(try await Self.importing(overlapping, into: copy).imported == head - 45)
                #expect(try await Self.importing(whole, into: copy).imported == 0)
                #expect(try await Self.importing(empty, into: copy).position == head)
                #expect(try await Self.rows(copy) == Self.rows(ledger))
                #expect(try await copy.store.epoch() == ledger.store.epoch())
                let again = try await Self.export(copy)
                #expect(
                    again.split(separator: "\n").dropFirst().dropLast()
                        == whole.split(separator: "\n").dropFirst().dropLast())
                // The copy is a ledger, and accepts appends.
                #expect(try await copy.queue("next").position == head + 1)
                #expect(try await copy.progress(#"job 1 "\'🙂é"#, 2).version == 4)
                // But then it is no longer a copy of the other.
                try await ledger.queue("another")
                let more = try await Self.export(ledger)
                let error = await #expect(throws: LogFile.Refused.self) { try await Self.importing(more, into: copy) }
                #expect(
                    error?.description.contains("at position \(head + 1) the ledger has another event") == true,
                    "\(error!)")
            }
        }
    }

    @Test func anEmptyLog() async throws {
        try await TestLedger.with { ledger async throws in
            let text = try await Self.export(ledger)
            try await TestLedger.with { copy async throws in
                let receipt = try await Self.importing(text, into: copy)
                #expect(receipt.events == 0 && receipt.position == 0)
                #expect(try await copy.store.epoch() == ledger.store.epoch())
            }
        }
    }

    /// A file that was changed, or that does not fit the ledger, is refused before anything is
    /// written. The first line is read before any digest is checked.
    @Test(arguments: [
        ("-9223372036854775808", "9223372036854775807"), ("1", "9223372036854775807"), ("0", "-9223372036854775808"),
        ("9223372036854775807", "-1"), ("4611686018427387904", "4611686018427387904"), ("0", "0"), ("3", "1"),
    ])
    func positionsThatNoLogHas(_ from: String, _ to: String) async throws {
        try await TestLedger.with { ledger in
            let text = try await Self.export(ledger).replacing(#""from":1"#, with: "\"from\":\(from)")
                .replacing(#""to":0"#, with: "\"to\":\(to)")
            let error = await #expect(throws: LogFile.Refused.self) { try await Self.importing(text, into: ledger) }
            #expect(
                error?.description.contains("positions \(from) to \(to), which no log has") == true,
                "\(String(describing: error))")
        }
    }

    @Test func anIncompleteOrForeignFileIsRefused() async throws {
        try await TestLedger.with { ledger async throws in
            try await Self.fill(ledger, jobs: 3)
            let whole = try await Self.export(ledger)
            let lines = whole.split(separator: "\n")
            let broken: [(String, String)] = [
                ("", "first line"), ("{}\n", "first line"), (String(whole.dropLast(30)), "incomplete"),
                (lines.dropLast().map { $0 + "\n" }.joined(), "incomplete"),
                (whole.replacing(#"\"total\":7"#, with: #"\"total\":8"#), "not what was exported"),
                (
                    lines.enumerated().filter { $0.offset != 4 }.map { $0.element + "\n" }.joined(),
                    "not what was exported"
                ),
                (whole.replacing(#""version":1}"#, with: #""version":2}"#), "version 2"),
                (try await Self.export(ledger, from: 3), "begins at position 3"),
            ]
            try await TestLedger.with { copy async throws in
                for (text, reason) in broken {
                    let error = await #expect(throws: LogFile.Refused.self) {
                        try await Self.importing(text, into: copy)
                    }
                    #expect(error?.description.contains(reason) == true, "\(reason): \(String(describing: error))")
                }
                #expect(try await copy.count() == 0)
                try await copy.queue("its own")
                let error = await #expect(throws: LogFile.Refused.self) { try await Self.importing(whole, into: copy) }
                #expect(error?.description.contains("another log") == true)
                #expect(try await copy.count() == 1)
            }
        }
    }

    /// The database itself refuses events that append would not have written, whatever the file's
    /// digest says, and names the event.
    @Test(arguments: [
        (#""position":3"#, #""position":4"#, "position 3: it says position 4"),
        (
            #""version":2,"type":"progress""#, #""version":3,"type":"progress""#,
            "it has version 3, and its job is at version 1"
        ),
        (#""version":2,"type":"progress""#, #""version":2,"type":"queued""#, "\"name\" is missing"),
        (#""stream_id":"a","version":2"#, #""stream_id":"x","version":1"#, "a job begins with queued"),
        (#""type":"queued""#, #""type":"failed""#, "\"error\" is missing"),
        (#""category":"job""#, #""category":"user""#, #"no category "user""#),
        (#""recorded_at":"2"#, #""recorded_at":"1"#, "earlier than the event before"),
        (#""recorded_at":"2"#, #""recorded_at":"12"#, "not within the years 1 to 9999"),
        (#"+00:00","data""#, #"+00:00 BC","data""#, "not within the years 1 to 9999"),
        (#""data":"{}""#, #""data":"{""#, "position 3: data is not acceptable JSON"),
        (#"\"completed\":3"#, #"\"completed\":30"#, "30 of 5 runs"),
        (#""type":"progress""#, #""type":"finished""#, "position 3: its job has ended"),
        (#""data":"{}","#, "", "it lacks one of"),
    ])
    func theRulesOfAppendHold(_ text: String, _ replacement: String, _ reason: String) async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a", total: 5)
            try await ledger.progress("a", 3)
            _ = try await ledger.store.append(NewEvent(type: "finished"), to: "a")
            var lines = try await Self.export(ledger).split(separator: "\n").dropFirst().dropLast().map(String.init)
            // The last line that contains it, so that the lines before it make it wrong.
            let index = try #require(lines.lastIndex { $0.contains(text) })
            lines[index] = lines[index].replacing(text, with: replacement)
            try await TestLedger.with { copy async throws in
                let connection = try await copy.connect()
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.query("SELECT import_events($1)", lines)
                }
                #expect(
                    error?.sqlState?.code == "JL020" && error?.message.contains(reason) == true,
                    "\(String(describing: error))")
                #expect(try await copy.count() == 0)
                await connection.close()
            }
        }
    }

    /// No path writes a time to the log that readers cannot represent and that every later event
    /// would get.
    @Test(arguments: ["10000-01-01 00:00+00", "infinity", "-infinity", "0001-12-31 23:59+00 BC"])
    func timesOutsideTheCalendarAreRefused(_ moment: String) async throws {
        try await TestLedger.with { ledger in
            try await ledger.queue("a")
            let connection = try await ledger.connect()
            let error = await #expect(throws: PostgresError.self) {
                try await connection.execute(
                    script: "ALTER TABLE events DISABLE TRIGGER ALL; UPDATE events SET recorded_at = '\(moment)'")
            }
            #expect(error?.message.contains("event_time_in_years") == true, "\(String(describing: error))")
            await connection.close()
        }
    }

    /// A line that the log would return differently is refused before it is written, and an empty
    /// ledger keeps its epoch.
    @Test(arguments: [
        (#"{"position""#, #"{ "position""#), (#""position":1"#, #""position":"1""#),
        (#""position":1"#, #""position":9,"position":1"#),
        (#""data":"{\"name\":\"test\",\"total\":0}""#, #""data":{"name":"test","total":0}"#),
        (#""category":"job""#, #""category":"\u006aob""#),
        (#""metadata":"{}"}"#, #""metadata":"{}","actor":"mallory"}"#),
        (#""recorded_at":"2"#, #""recorded_at":" 2"#), (#""occurred_at":null,"#, ""),
        (#""event_id":"0"#, #""event_id":"{0"#),
    ])
    func aLineThatWouldComeBackDifferentlyIsRefused(_ text: String, _ replacement: String) async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            var lines = try await Self.export(ledger).split(separator: "\n").dropLast().map(String.init)
            let original = lines[1]
            lines[1] = original.replacing(text, with: replacement)
            // Postgres accepts a UUID in braces.
            if replacement.hasSuffix("{0") { lines[1] = lines[1].replacing(#"","category""#, with: #"}","category""#) }
            try #require(lines[1] != original)
            let forged = try await Self.whole(lines, ledger)
            try await TestLedger.with { copy async throws in
                let epoch = try await copy.store.epoch()
                let error = await #expect(throws: LogFile.Refused.self) { try await Self.importing(forged, into: copy) }
                #expect(
                    error?.description.contains("position 1: its line is not written as jobledger export writes it")
                        == true,
                    "\(String(describing: error))")
                #expect(try await copy.count() == 0)
                #expect(try await copy.store.epoch() == epoch)
                // The unchanged line is still accepted.
                lines[1] = original
                #expect(try await Self.importing(try await Self.whole(lines, ledger), into: copy).imported == 1)
                #expect(try await copy.store.epoch() == ledger.store.epoch())
            }
        }
    }

    /// A copy that has diverged under the same epoch does not accept later events of the other log.
    @Test func aFileThatDoesNotContinueTheLogIsRefused() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            try await ledger.queue("b")
            let start = try await Self.export(ledger)
            try await TestLedger.with { copy async throws in
                #expect(try await Self.importing(start, into: copy).imported == 2)
                try await copy.queue("its own")
                for job in ["c", "d"] { try await ledger.queue(job) }
                let more = try await Self.export(ledger, from: 4)
                let error = await #expect(throws: LogFile.Refused.self) { try await Self.importing(more, into: copy) }
                #expect(error?.description.contains("at position 3 the ledger has another event") == true, "\(error!)")
                // The same if the file does not say what it continues.
                var lines = more.split(separator: "\n").dropLast().map(String.init)
                lines[0] = lines[0].replacing(#/"previous":"[0-9a-f]{64}",/#, with: "")
                #expect(!lines[0].contains("previous"))
                let silent = try await Self.whole(lines, ledger)
                let unknown = await #expect(throws: LogFile.Refused.self) {
                    try await Self.importing(silent, into: copy)
                }
                #expect(unknown?.description.contains("jobledger export --from 3") == true, "\(unknown!)")
                #expect(try await copy.count() == 3)
            }
        }
    }

    /// The source begins an epoch between two parts. A copy takes it over with the next part, and a
    /// ledger that has gone its own way is refused as before.
    @Test func aCopyFollowsItsSourceIntoAnotherEpoch() async throws {
        try await TestLedger.with { source async throws in
            for job in ["a", "b"] { try await source.queue(job) }
            let first = try await Self.export(source)
            try await source.beginEpoch()
            try await source.queue("c")
            let (second, whole) = (try await Self.export(source, from: 3), try await Self.export(source))
            for next in [second, whole] {
                try await TestLedger.with { copy async throws in
                    _ = try await Self.importing(first, into: copy)
                    #expect(try await Self.importing(next, into: copy).imported == 1)
                    #expect(try await copy.store.epoch() == source.store.epoch())
                    // The file of the epoch before is still one of this log.
                    #expect(try await Self.importing(first, into: copy).imported == 0)
                    #expect(try await copy.store.epoch() == source.store.epoch())
                    // Their first lines name the ledger, and their last lines depend on that.
                    let copied = try await Self.export(copy, from: 3).split(separator: "\n")
                    #expect(copied.count == 3 && copied[1] == second.split(separator: "\n")[1])
                }
            }
            try await TestLedger.with { other async throws in
                _ = try await Self.importing(first, into: other)
                try await other.queue("its own")
                let epoch = try await other.store.epoch()
                for text in [whole, try await Self.export(source, from: 4, to: 3)] {
                    let error = await #expect(throws: LogFile.Refused.self) {
                        _ = try await Self.importing(text, into: other)
                    }
                    #expect(error?.description.contains("another log") == true, "\(String(describing: error))")
                }
                #expect(try await other.store.head() == 3)
                #expect(try await other.store.epoch() == epoch)
            }
        }
    }

    @Test func anEventIDComesOnce() async throws {
        try await TestLedger.with { ledger async throws in
            try await ledger.queue("a")
            try await ledger.queue("b")
            let id = try await ledger.store.page(EventQuery())
            let lines = try await Self.export(ledger).split(separator: "\n").dropFirst().dropLast()
                .map { String($0).replacing(id[1].id.text, with: id[0].id.text) }
            try await TestLedger.with { copy async throws in
                let connection = try await copy.connect()
                let error = await #expect(throws: PostgresError.self) {
                    try await connection.query("SELECT import_events($1)", lines)
                }
                #expect(error?.message.contains("an event id comes twice") == true)
                await connection.close()
            }
        }
    }

    /// The right to append is not enough to import: only the owner may set the time of recording.
    @Test func onlyTheOwnerImports() async throws {
        try await TestLedger.with { ledger async throws in
            for role in ["appender", "reader", "subscriber"] {
                let may = try await ledger.store.pool.withConnection {
                    try await $0.query(
                        "SELECT has_function_privilege($1, 'import_events(text[])', 'EXECUTE')",
                        "\(ledger.name)_\(role)"
                    )
                    .only().decode(0, as: Bool.self)
                }
                #expect(!may)
            }
        }
    }
}
