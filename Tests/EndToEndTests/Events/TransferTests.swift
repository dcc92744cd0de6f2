import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

@testable import EmbeddedServices

extension EndToEnd {
    @Suite("export and import") struct TransferTests {
        /// A file does not say which rules its events follow, so the categories come first.
        @Test("an import names the category that the ledger lacks, and goes on when it is there")
        func withoutCategory() async throws {
            try await UserLedger.with { user in
                let folder = try makeDirectory("categories").path
                #expect(try await user.run("categories", "new", "parcel", "--categories", folder).code == 0)
                #expect(try await user.run("migrate", "--categories", folder).code == 0)
                // More jobs than one batch has, so that a part of the file is imported before.
                let jobs = (0..<2500).map { number in
                    AppendRequest(job: "job \(number)", events: [NewEvent(type: "queued", data: #"{"name":"n"}"#)])
                }
                for answer in try await user.ledger.store.append(jobs, timeout: .seconds(60)) { _ = try answer.get() }
                let opened = try await user.run(
                    "append", "--category", "parcel", "p", "opened", "--data", #"{"title": "t"}"#)
                #expect(opened.code == 0, "\(opened)")
                try await user.ledger.queue("last")
                let file = try makeDirectory("export").appending(path: "log.ndjson").path
                #expect(try await user.run("export", "--out", file).code == 0)
                try await UserLedger.with { copy in
                    let refused = try await copy.run("import", file)
                    #expect(refused.code == 1, "\(refused)")
                    #expect(
                        refused.errors.contains(
                            #"position 2501: there is no category "parcel": install it first, by jobledger migrate, "#
                                + "with --categories DIR"), "\(refused)")
                    // Nothing behind it is there, and nothing before it is lost.
                    #expect(try await copy.ledger.store.head() <= 2500)
                    #expect(try await copy.run("migrate", "--categories", folder).code == 0)
                    let imported = try await copy.run("import", file, "--json")
                    #expect(try imported.json()["position"] == 2502, "\(imported)")
                    let original = try String(contentsOfFile: file, encoding: .utf8).split(separator: "\n")
                    let again = try await copy.run("export").output.split(separator: "\n")
                    #expect(again.dropFirst().dropLast() == original.dropFirst().dropLast())
                }
            }
        }

        /// An import that is killed again and again ends with the same log, and rebuilds of both
        /// ledgers give the same digests.
        @Test("make the same ledger elsewhere, even if they are killed") func copy() async throws {
            try await UserLedger.with { user in
                let jobs = (0..<150).map { "job \($0)" }
                func append(_ type: String, _ data: String) async throws {
                    let answers = try await user.ledger.store.append(
                        jobs.map { AppendRequest(job: $0, events: [NewEvent(type: type, data: data)]) },
                        timeout: .seconds(60))
                    for answer in answers { _ = try answer.get() }
                }
                try await append("queued", "{\"name\":\"line\\nfeed\",\n \"total\":60}")
                for completed in 1...50 {
                    try await append(
                        "progress",
                        #"{"completed":\#(completed),"runs":[{"run_index":\#(completed),"metrics":{"m":1.50}}]}"#)
                }
                try await append("finished", "{}")
                let head = try await user.ledger.store.head()
                let file = try makeDirectory("export").appending(path: "log.ndjson").path
                let exported = try await user.run("export", "--out", file, "--json").json()
                #expect(exported["count"]?.integer == Int(head) && exported["sha256"]?.text?.count == 64)

                try await UserLedger.with { copy in
                    var kills = 0
                    while try await copy.ledger.store.head() < head, kills < 6 {
                        let before = try await copy.ledger.store.head()
                        let program = try await copy.start("import", file)
                        try await until("some of it is imported") {
                            try await copy.ledger.store.head() > before || !program.isRunning
                        }
                        await program.kill()
                        kills += 1
                    }
                    let answer = try await copy.run("import", file, "--json")
                    #expect(answer.code == 0, "\(answer)")
                    #expect(try answer.json()["position"]?.integer == Int(head))
                    #expect(kills > 1, "it was killed \(kills) times")
                    let again = try await copy.run("export")
                    #expect(again.code == 0)
                    let original = try String(contentsOfFile: file, encoding: .utf8)
                    #expect(
                        again.output.split(separator: "\n").dropFirst().dropLast()
                            == original.split(separator: "\n").dropFirst().dropLast())

                    for projection in ["batch_jobs", "batch_job_runs", "daily_job_stats", "audit_log", "backtesting"] {
                        var digests: Set<String> = []
                        for ledger in [user, copy] {
                            digests.insert(
                                try await ledger.run("rebuild", projection, "--json").json()["digest"]?.text ?? "none")
                        }
                        #expect(digests.count == 1 && !digests.contains("none"), "\(projection)")
                    }
                    let epoch = try await copy.ledger.store.epoch()
                    #expect(try await epoch == user.ledger.store.epoch())
                    let own = try await copy.run("import", file, "--new-epoch", "--json")
                    #expect(try own.json()["imported"] == 0)
                    #expect(try await copy.ledger.store.epoch() != epoch)
                    let refused = try await copy.run("import", file)
                    #expect(refused.code == 1 && refused.errors.contains("another log"), "\(refused)")
                }
            }
        }

        /// Uses a `/dev` of its own, because that of the machine serves everybody.
        @Test("write to a device and do not replace it", .enabled("only root can mount a /dev") { geteuid() == 0 })
        func devices() async throws {
            try await UserLedger.with { user in
                try await user.ledger.queue("a")
                let lines = try await user.run("export").lines
                func export(_ arguments: String...) async throws -> Outcome {
                    let nodes = """
                        mount -t tmpfs none /dev && ln -s /proc/self/fd/1 /dev/stdout && mknod /dev/full c 1 7 &&
                        mknod /dev/null c 1 3 && mknod /dev/urandom c 1 9 && "$0" export "$@"; code=$?
                        [ -c /dev/full ] && [ -c /dev/null ] && [ -L /dev/stdout ] &&
                        [ "$(ls /dev | wc -l)" = 4 ] || echo "/dev was changed: $(ls -l /dev)"; exit $code
                        """
                    let unshare = Program(path: try Programs.find("unshare", package: "util-linux"))
                    return try await unshare.run(
                        ["--mount", "/bin/sh", "-c", nodes, Program.jobledger.path] + arguments,
                        environment: user.environment)
                }
                // Another name of standard output: only the log may be written there.
                let same = try await export("--out", "/dev/stdout")
                #expect(same.code == 0 && same.lines == lines, "\(same)")
                let both = try await export("--out", "/dev/stdout", "--json")
                #expect(both.code == 2 && both.output.isEmpty, "\(both)")
                let nowhere = try await export("--out", "/dev/null")
                #expect(nowhere.code == 0 && nowhere.output.hasPrefix("1 events, "), "\(nowhere)")
                let full = try await export("--out", "/dev/full")
                #expect(full.code == 1 && full.output.isEmpty, "\(full)")
                #expect(full.errors.contains("/dev/full cannot be written: No space left on device"), "\(full)")
            }
        }

        @Test("take a range, and report mistakes") func parts() async throws {
            try await UserLedger.with { user in
                for job in ["a", "b", "c"] { try await user.ledger.queue(job) }
                let moment = try await user.ledger.store.page(EventQuery())[1].recordedAt.description
                let lines = try await user.run("export", "--from", "2", "--to", "2").lines
                #expect(
                    lines.count == 3 && lines[1].contains(#""position":2,"#)
                        && lines[2].hasPrefix(#"{"count":1,"sha256":""#),
                    "\(lines)")
                let timed = try await user.run("export", "--from", moment, "--to", moment).lines
                #expect(timed.dropFirst() == lines.dropFirst() || timed.count > 3)
                #expect(try await user.run("export", "--json").code == 2)
                #expect(try await user.run("export", "--from", "3", "--to", "1").code == 2)
                #expect(try await user.run("export", "--out", "/nowhere/log").code == 2)
                let directory = try makeDirectory("out")
                for out in [directory.path, ""] {
                    for command in [["export"], ["audit", "consistency", "--from", "1"]] {
                        let refused = try await Program.jobledger.run(
                            command + ["--out", out], environment: user.environment)
                        #expect(refused.code != 0, "\(refused)")
                    }
                }
                #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
                let missing = try await user.run("import", "/nowhere/log")
                #expect(missing.code == 1 && missing.errors.contains("cannot be read"), "\(missing)")
            }
        }
    }
}
