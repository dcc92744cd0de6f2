import EventStore
import LedgerCore
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("rebuild and verify") struct ReplayTests {
        /// Appends four events for each of 40 jobs, with numbers and names that JSON libraries
        /// easily change.
        private static func fill(_ user: UserLedger) async throws {
            let jobs = (1...40).map { "job \($0)" }
            func append(_ type: String, _ data: String) async throws {
                let answers = try await user.ledger.store.append(
                    jobs.map { AppendRequest(job: $0, events: [NewEvent(type: type, data: data)]) })
                for answer in answers { _ = try answer.get() }
            }
            try await append(
                "queued",
                #"{"name":"x","total":4,"strategy":{"maxLoss":1e300,"tiny":1e-200,"#
                    + #""exact":0.1234567890123456789012345678901234567890}}"#)
            try await append("progress", #"{"completed":1,"runs":[{"run_index":0,"metrics":{"pnl":1.5}}]}"#)
            try await append("progress", #"{"completed":3,"runs":[{"run_index":1},{"run_index":2}]}"#)
            try await append("finished", #"{"results":{"summary":{"best":1},"runs":[{"run_index":0}]}}"#)
            try await user.untilProjected()
        }

        @Test("give one digest, whatever the window", arguments: ["batch_jobs", "batch_job_runs"])
        func digests(projection: String) async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                var digests: Set<String> = []
                for window in ["1", "7", "1000", "100000"] {
                    let outcome = try await user.run("rebuild", projection, "--window", window, "--json")
                    #expect(outcome.code == 0, "\(outcome)")
                    let answer = try outcome.json()
                    #expect(answer.members == ["projection", "position", "rows", "digest", "events", "seconds"])
                    #expect(answer["projection"]?.text == projection)
                    #expect(answer["position"] == 160)
                    #expect(answer["events"] == 160)
                    #expect(answer["rows"]?.integer == (projection == "batch_jobs" ? 40 : 120))
                    digests.insert(answer["digest"]?.text ?? "none")
                }
                let verified = try await user.run("verify", projection, "--window", "13", "--json")
                #expect(verified.code == 0, "\(verified)")
                let answer = try verified.json()
                #expect(
                    answer.members == [
                        "projection", "position", "equal", "live_digest", "rebuilt_digest", "differences", "skipped",
                        "tables_with_policies",
                    ])
                #expect(answer["equal"] == true)
                #expect(answer["differences"] == [])
                #expect(digests == [answer["live_digest"]?.text])
                #expect(answer["live_digest"] == answer["rebuilt_digest"])
            }
        }

        @Test(
            "killed twenty times at random moments, a rebuild continues where it was and leaves nothing behind",
            .timeLimit(.minutes(15)))
        func killed() async throws {
            let seed = UInt64.random(in: 0...UInt64.max)
            print("killed rebuilds: seed \(seed)")
            var random = SeededGenerator(seed: seed)
            try await UserLedger.with(projecting: true) { user in
                let jobs = (1...200).map { "job \($0)" }
                try await user.ledger.append(
                    jobs.map { ($0, [NewEvent(type: "queued", data: #"{"name":"x","total":200}"#)]) })
                for _ in 1...4 {
                    try await user.ledger.append(
                        jobs.map { job in
                            (job, (1...25).map { NewEvent(type: "progress", data: #"{"completed":\#($0)}"#) })
                        })
                }
                try await user.untilProjected()
                let whole = try await user.run("rebuild", "batch_jobs", "--json").json()
                #expect(whole["rows"] == 200 && whole["events"] == 20_200)
                let beside = """
                    SELECT count(*) FROM pg_namespace
                    WHERE nspname LIKE '\(user.ledger.name)-%' OR nspname LIKE '\(user.ledger.name)~%'
                    """
                let reached = "SELECT coalesce(sum(position), 0) FROM \"\(user.ledger.name)\".rebuild_slices"
                var (furthest, finished): (Int, Int) = (0, 0)
                for _ in 1...20 {
                    let rebuild = try await user.start("rebuild", "batch_jobs", "--window", "20", "--json")
                    // A random moment is what the test is about; there is no signal to wait for.
                    try await Task.sleep(for: .milliseconds(50 + random.below(450)))
                    if rebuild.isRunning {
                        await rebuild.kill()
                    } else {
                        finished += try await rebuild.end().code == 0 ? 1 : 0
                    }
                    furthest = max(furthest, Int(try await user.psql(reached).output.dropLast()) ?? 0)
                    #expect(try await user.run("show", "job 7", "--json").code == 0)
                }
                let last = try await user.run("rebuild", "batch_jobs", "--json")
                #expect(last.code == 0, "\(last)")
                let answer = try last.json()
                #expect(answer["digest"] == whole["digest"] && answer["rows"] == 200)
                #expect(furthest > 0 && finished < 20, "no rebuild was killed while it worked, seed \(seed)")
                // Only the tables that were replaced last are kept, until they are dropped.
                #expect(try await user.psql(beside).output == "1\n")
                #expect(try await user.run("rebuild", "batch_jobs", "--drop-old").code == 0)
                #expect(try await user.psql(beside).output == "0\n")
                #expect(try await user.run("verify", "batch_jobs").code == 0)
            }
        }

        @Test("find rows that were changed, lost or invented, and repair them") func tampering() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                let table = "\"\(user.ledger.name)\".batch_jobs"
                let changes = [
                    "UPDATE \(table) SET completed = 1, error = 'x' WHERE id = 'job 7'",
                    "DELETE FROM \(table) WHERE id = 'job 8'",
                    "INSERT INTO \(table) (id, name, status) VALUES ('job 99', 'x', 'queued')",
                ]
                for change in changes {
                    let outcome = try await user.psql(change)
                    #expect(outcome.code == 0, "\(outcome)")
                }

                let found = try await user.run("verify", "batch_jobs", "--json")
                #expect(found.code == 1, "\(found)")
                let answer = try found.json()
                #expect(answer["equal"] == false)
                #expect(answer["live_digest"] != answer["rebuilt_digest"])
                let differences = answer["differences"]?.elements ?? []
                #expect(differences.compactMap { $0["key"]?["id"]?.text } == ["job 7", "job 8", "job 99"])
                #expect(differences.first?["table"] == "batch_jobs")
                #expect(differences.first?["columns"] == ["completed", "error"])
                #expect(differences.first?["live"]?["completed"] == 1)
                #expect(differences.first?["rebuilt"]?["completed"] == 4)
                // Names and digits are those of the database, unchanged.
                #expect(found.output.contains(#""exact": 0.1234567890123456789012345678901234567890"#), "\(found)")
                #expect(found.output.contains("maxLoss"))

                let told = try await user.run("verify", "batch_jobs")
                #expect(told.code == 1)
                #expect(told.output.contains("DIFFERS"))
                #expect(told.output.contains(#"{"id" : "job 7"}: completed, error"#), "\(told)")

                #expect(try await user.run("rebuild", "batch_jobs").code == 0)
                #expect(try await user.run("verify", "batch_jobs").code == 0)
            }
        }

        @Test("show a job as it was") func asOf() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                let (queued, running) = (
                    try await user.run("show", "job 1", "--at", "1", "--json"),
                    try await user.run("show", "job 1", "--at", "41", "--json")
                )
                #expect(try queued.json()["status"] == "queued")
                #expect(try running.json()["status"] == "running")
                #expect(try running.json()["completed"] == 1)
                let now = try await user.run("show", "job 1", "--json")
                for at in ["160", "9999", "9999-12-31T23:59:59Z"] {
                    #expect(try await user.run("show", "job 1", "--at", at, "--json").output == now.output)
                }
                let before = try await user.run("show", "job 1", "--at", "2020-01-01T00:00:00Z", "--json")
                #expect(before.code == 1)
                #expect(try before.json()["error"]?["code"] == "unknown_job")
            }
        }

        @Test("need a projector to have run") func notProjected() async throws {
            try await UserLedger.with { user in
                let outcome = try await user.run("verify", "batch_jobs")
                #expect(outcome.code == 1)
                #expect(outcome.errors.contains("no projector has run yet"), "\(outcome)")
            }
        }
    }
}

extension TestLedger {
    /// Appends the events, and throws if any is refused.
    fileprivate func append(_ events: [(job: String, events: [NewEvent])]) async throws {
        for answer in try await store.append(events.map { AppendRequest(job: $0.job, events: $0.events) }) {
            _ = try answer.get()
        }
    }
}
