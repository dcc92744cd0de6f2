import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("the seal") struct AuditTests {
        /// Runs `body` with a ledger that has a seal key, and with a directory that holds the
        /// verifier key in the file `vkey`.
        private static func with(_ body: (UserLedger, URL) async throws -> Void) async throws {
            try await UserLedger.with { user in
                let directory = try makeDirectory("audit")
                defer { try? FileManager.default.removeItem(at: directory) }
                var user = user
                let key = directory.appending(path: "seal.key").path
                let made = try await user.run("audit", "key", "--out", key)
                #expect(made.code == 0, "\(made)")
                try Data(made.output.utf8).write(to: directory.appending(path: "vkey"))
                user.environment["JOBLEDGER_SEAL_KEY"] = key
                try await body(user, directory)
            }
        }

        private static func fill(_ user: UserLedger) async throws {
            for (job, actor) in [("a", "ada"), ("b", "bob")] {
                #expect(
                    try await user.run("append", job, "queued", "--data", #"{"name": "x"}"#, "--actor", actor).code == 0
                )
            }
            let failed = try await user.run(
                "append", "a", "failed", "--data", #"{"error": "out of memory"}"#, "--actor", "eve", "--json")
            #expect(failed.code == 0, "\(failed)")
        }

        private static func seal(_ user: UserLedger) async throws {
            let sealed = try await user.run("audit", "seal", "--until-head")
            #expect(sealed.code == 0, "\(sealed)")
        }

        /// Changes tables as a superuser can who disables all triggers.
        private static func tamper(_ user: UserLedger, _ statement: String) async throws {
            let disabled = ["events", "seal_tiles", "seal_checkpoints"].map {
                "ALTER TABLE \(user.ledger.name).\($0) DISABLE TRIGGER ALL; "
            }
            let outcome = try await user.psql(disabled.joined() + statement)
            #expect(outcome.code == 0, "\(outcome)")
        }

        @Test("it is proved to a third party who failed a job, and a forgery is found") func story() async throws {
            try await Self.with { user, directory in
                func file(_ name: String) -> String { directory.appending(path: name).path }
                try await Self.fill(user)
                let early = try await user.run("audit", "prove", "3")
                #expect(early.code == 1 && early.errors.contains("nothing is sealed yet"), "\(early)")
                try await Self.seal(user)
                try await proveEvent(user, file)
                try await proveJobs(user, file)
                try await findForgeries(user, file)
            }
        }

        /// Proves the event at position 3, and checks the proof with this program and with another.
        private func proveEvent(_ user: UserLedger, _ file: (String) -> String) async throws {
            let proof = try await user.run("audit", "prove", "3", "--out", file("failed.tlog-proof"))
            #expect(proof.code == 0 && proof.errors.contains("position 3"), "\(proof)")
            // The check needs only the file and the key, and no ledger.
            let check = try await Program.jobledger.run([
                "audit", "check", file("failed.tlog-proof"), "--key", file("vkey"),
            ])
            #expect(check.code == 0, "\(check)")
            #expect(check.output.contains("job a, version 2: failed by eve"), "\(check)")
            #expect(check.output.contains("out of memory"))
            let other = try await PythonTools.checkSeal("proof", file("failed.tlog-proof"), "--key", file("vkey"))
            #expect(other.output == "holds: position 3, job a, version 2, failed\n", "\(other)")
        }

        /// Proves all events of a job that has ended and of one that has not, and withholds data.
        private func proveJobs(_ user: UserLedger, _ file: (String) -> String) async throws {
            let whole = try await user.run("audit", "prove", "--job", "a", "--out", file("a.tlog-proof"))
            #expect(whole.code == 0, "\(whole)")
            let all = try await Program.jobledger.run(
                ["audit", "check", file("a.tlog-proof"), "--key", file("vkey"), "--whole", "--json"])
            #expect(all.code == 0, "\(all)")
            #expect(try all.json()["whole"] == true && all.json()["job"] == "a")
            #expect(try all.json()["events"]?.elements.count == 2)
            #expect(try await PythonTools.checkSeal("proof", file("a.tlog-proof"), "--key", file("vkey")).code == 0)
            #expect(try await user.run("audit", "prove", "--job", "b", "--out", file("b.tlog-proof")).code == 0)
            let open = try await user.run("audit", "check", file("b.tlog-proof"), "--whole")
            #expect(open.code == 1 && open.errors.contains("had not ended by position 2"), "\(open)")
            // With hashes in place of data and metadata.
            let withheld = try await user.run(
                "audit", "prove", "3", "--withhold", "--out", file("withheld.tlog-proof"))
            #expect(withheld.code == 0, "\(withheld)")
            let text = try String(contentsOfFile: file("withheld.tlog-proof"), encoding: .utf8)
            let extra = try #require(text.split(separator: "\n").first { $0.hasPrefix("extra ") }?.dropFirst(6))
            #expect(
                !String(decoding: try #require(Data(base64Encoded: String(extra))), as: UTF8.self).contains(
                    "memory"))
            #expect(
                try await user.run("audit", "check", file("withheld.tlog-proof")).output.contains(
                    "withheld, SHA-256"))
            #expect(
                try await PythonTools.checkSeal("proof", file("withheld.tlog-proof"), "--key", file("vkey")).code
                    == 0)
        }

        /// Alters an event in the database, and forges a proof.
        private func findForgeries(_ user: UserLedger, _ file: (String) -> String) async throws {
            #expect(try await user.run("audit", "verify").code == 0)
            try await Self.tamper(
                user, "UPDATE \(user.ledger.name).events SET metadata = '{\"actor\":\"ada\"}' WHERE position = 3")
            let found = try await user.run("audit", "verify", "--json")
            #expect(found.code == 1)
            let bad = try found.json()["bad"]?.elements ?? []
            #expect(bad.count == 1 && bad[0]["position"] == 3 && bad[0]["kind"] == "altered", "\(found)")
            #expect(try await user.run("audit", "verify").output.contains("job a, version 2 (failed)"))
            let lost = try await user.run("audit", "prove", "3")
            #expect(lost.code == 1 && lost.errors.contains("is not what was sealed"), "\(lost)")
            // An earlier proof still holds, and a forged one does not.
            #expect(try await user.run("audit", "check", file("failed.tlog-proof")).code == 0)
            let swapped = try String(contentsOfFile: file("failed.tlog-proof"), encoding: .utf8)
                .replacing("index 2", with: "index 1")
            try Data(swapped.utf8).write(to: URL(filePath: file("forged.tlog-proof")))
            #expect(try await user.run("audit", "check", file("forged.tlog-proof")).code == 1)
            #expect(try await user.run("audit", "check", file("vkey")).code == 1)
            #expect(try await user.run("audit", "check", file("none")).code == 2)
        }

        @Test("checkpoints outside the database reveal a history that was rewritten together with its seal")
        func witnesses() async throws {
            try await Self.with { user, directory in
                func file(_ name: String) -> String { directory.appending(path: name).path }
                #expect(try await user.run("audit", "anchor", file("anchor")).code == 1)
                let none = try await user.run("tail", "--until-head", "--witness", file("seen"))
                #expect(none.code == 0 && none.errors.contains("nothing is sealed yet"), "\(none)")
                try await Self.fill(user)
                try await Self.seal(user)
                #expect(try await user.run("audit", "anchor", file("anchor")).code == 0)
                #expect(try await user.run("tail", "--until-head", "--witness", file("seen")).lines.count == 3)
                #expect(try await user.run("append", "b", "finished").code == 0)
                try await Self.seal(user)
                let update = try await user.run(
                    "audit", "consistency", "--from", file("anchor"), "--out", file("update"))
                #expect(update.code == 0, "\(update)")
                let continues = try await user.run("audit", "check", file("update"), "--after", file("anchor"))
                #expect(
                    continues.code == 0 && continues.output.contains("the log of 4 events continues that of 3"),
                    "\(continues)")
                let other = try await PythonTools.checkSeal(
                    "update", file("update"), "--after", file("anchor"), "--key", file("vkey"))
                #expect(other.code == 0, "\(other)")
                #expect(
                    try await user.run("audit", "verify", "--against", file("anchor"), "--against", file("seen")).code
                        == 0)
                #expect(try await user.run("audit", "tiles", file("tiles")).code == 0)
                #expect(try await PythonTools.checkSeal("tiles", file("tiles"), "--key", file("vkey")).code == 0)
                #expect(try await user.run("tail", "--until-head", "--witness", file("seen")).code == 0)
                #expect(try await user.run("audit", "verify", "--tiles", file("tiles")).code == 0)

                // An attacker with the database and the key rewrites the history and seals it
                // again.
                try await Self.tamper(
                    user,
                    """
                    UPDATE \(user.ledger.name).events SET metadata = '{\"actor\":\"ada\"}' WHERE position = 3;
                    DELETE FROM \(user.ledger.name).seal_tiles; DELETE FROM \(user.ledger.name).seal_checkpoints;
                    UPDATE \(user.ledger.name).seal SET size = 0, edge = ''
                    """)
                let refused = try await user.run("audit", "seal", "--until-head")
                #expect(refused.code == 1 && refused.errors.contains("history was rewritten"), "\(refused)")
                try FileManager.default.removeItem(atPath: file("seal.key.signed"))
                try await Self.seal(user)
                #expect(try await user.run("audit", "verify").code == 0)
                for command in [
                    ["audit", "verify", "--against", file("anchor")], ["audit", "anchor", file("anchor")],
                    ["tail", "--until-head", "--witness", file("seen")],
                ] {
                    let outcome = try await Program.jobledger.run(command, environment: user.environment)
                    #expect(outcome.code == 1, "\(outcome)")
                    #expect((outcome.output + outcome.errors).contains("rewritten"), "\(outcome)")
                    if command[0] == "tail" { #expect(outcome.output == "") }
                }
                let tiles = try await user.run("audit", "verify", "--tiles", file("tiles"), "--json")
                #expect(try tiles.json()["bad"]?.elements.compactMap { $0["position"]?.integer } == [3], "\(tiles)")
            }
        }

        @Test("an anchor keeps the latest checkpoint at an address") func address() async throws {
            try await Self.with { user, directory in
                var user = user
                let server = try await PythonTools.python().start(["-c", Self.archive])
                do {
                    let port = try await eventually("the archive listens") { server.lines.first }
                    let url = "http://127.0.0.1:\(port)/checkpoint"
                    try await Self.fill(user)
                    try await Self.seal(user)
                    let denied = try await user.run("audit", "anchor", url)
                    #expect(denied.code == 1 && denied.errors.contains("401"), "\(denied)")
                    user.environment["JOBLEDGER_ANCHOR_AUTHORIZATION"] = "Bearer archive"
                    try await user.running("audit", "anchor", url, "--every", "1") { _ in
                        try await until("the archive has it") { server.lines.contains("PUT 3") }
                        #expect(try await user.run("append", "b", "finished").code == 0)
                        try await Self.seal(user)
                        try await until("the archive has the next") { server.lines.contains("PUT 4") }
                    }
                    #expect(try await user.run("audit", "anchor", url).code == 0)
                } catch {
                    await server.kill()
                    throw error
                }
                await server.kill()
            }
        }

        @Test("an address that redirects or stores nothing is refused", arguments: ["303", "307", "204"])
        func forgetful(status: String) async throws {
            try await Self.with { user, _ in
                try await Self.fill(user)
                try await Self.seal(user)
                let server = try await PythonTools.python().start(["-c", Self.forgetful, status])
                do {
                    let port = try await eventually("it listens") { server.lines.first }
                    let anchored = try await user.run("audit", "anchor", "http://127.0.0.1:\(port)/checkpoint")
                    #expect(anchored.code == 1 && !anchored.output.contains("has the checkpoint"), "\(anchored)")
                    let reason = status == "204" ? "does not return it" : "answers PUT with \(status)"
                    #expect(anchored.errors.contains(reason), "\(anchored)")
                    #expect(
                        anchored.errors.contains("redirects are not followed") == (status != "204"),
                        "\(anchored)")
                } catch {
                    await server.kill()
                    throw error
                }
                await server.kill()
            }
        }

        /// An HTTP server that accepts a PUT, answers with a redirect to a page, and stores
        /// nothing.
        private static let forgetful = """
            import http.server, sys
            class Forgetful(http.server.BaseHTTPRequestHandler):
                def answer(self, status, body=b""):
                    self.send_response(status); self.send_header("Location", "/login")
                    if status != 204: self.send_header("Content-Length", str(len(body)))
                    self.end_headers(); self.wfile.write(body)
                def do_GET(self): self.answer(200, b"welcome") if self.path == "/login" else self.answer(404)
                def do_PUT(self):
                    body = self.rfile.read(int(self.headers["Content-Length"]))
                    self.answer(200) if self.path == "/login" else self.answer(int(sys.argv[1]))
                def log_message(self, *arguments): pass
            server = http.server.HTTPServer(("127.0.0.1", 0), Forgetful)
            print(server.server_port, flush=True); server.serve_forever()
            """

        /// An HTTP server that stores what is PUT.
        private static let archive = """
            import http.server
            kept = {}
            class Archive(http.server.BaseHTTPRequestHandler):
                def answer(self, status, body=b""):
                    self.send_response(status); self.send_header("Content-Length", str(len(body)))
                    self.end_headers(); self.wfile.write(body)
                def allowed(self):
                    if self.headers.get("Authorization") == "Bearer archive": return True
                    self.answer(401)
                def do_GET(self):
                    if self.allowed(): self.answer(200, kept[self.path]) if self.path in kept else self.answer(404)
                def do_PUT(self):
                    if not self.allowed(): return
                    kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
                    self.answer(204); print("PUT", kept[self.path].split(b"\\n")[1].decode(), flush=True)
                def log_message(self, *_): pass
            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Archive)
            print(server.server_address[1], flush=True)
            server.serve_forever()
            """

        @Test("the service serves the tree to other tools") func service() async throws {
            try await Self.with { user, directory in
                func file(_ name: String) -> String { directory.appending(path: name).path }
                try await Self.fill(user)
                for batch in 0..<3 {
                    let lines = (0..<250).map {
                        #"{"job":"many-\#(batch)-\#($0)","type":"queued","data":{"name":"x"}}"#
                    }
                    let appended = try await user.run(
                        "append", "--file", "-", input: Data(lines.joined(separator: "\n").utf8))
                    #expect(appended.code == 0, "\(appended)")
                    try await Self.seal(user)
                }
                try await ServiceProcess.with(user) { service in
                    let tiles = try await PythonTools.checkSeal(
                        "tiles", service.url + "/v1/audit", "--key", file("vkey"),
                        environment: ["JOBLEDGER_TOKEN": service.token]
                    )
                    #expect(tiles.code == 0 && tiles.output.contains("753 events"), "\(tiles)")
                    let (status, proof) = try await service.ask("GET", "/v1/audit/proof?event=3")
                    #expect(status == 200)
                    try Data(proof.utf8).write(to: directory.appending(path: "proof"))
                    #expect(try await user.run("audit", "check", file("proof")).code == 0)
                    let (_, text) = try await service.ask("GET", "/metrics")
                    #expect(text.contains("\njobledger_seal_lag_events 0\n"), "\(text)")
                }
            }
        }

        @Test("up seals, and status shows how far") func up() async throws {
            try await UpProcess.with { up in
                #expect(
                    try await up.run("append", "a", "queued", "--data", #"{"name": "x"}"#, "--actor", "ada").code == 0)
                try await until("the event is sealed") {
                    let seal = try await up.run("status", "--json").json()["seal"]
                    return seal?["position"] == 1 && seal?["lag"] == 0 && seal?["active"] == true
                        && seal?["state"] == "running"
                }
                #expect(try await up.run("status").output.contains("seal        at 1, 0 behind, running"))
                let verified = try await up.run("audit", "verify")
                #expect(verified.code == 0 && verified.output.contains("signed by jobledger/"), "\(verified)")
                #expect(try await up.run("audit", "key").output.hasPrefix("jobledger/jobledger/"))
                let verifier = try up.address("JOBLEDGER_SEAL_VERIFIER")
                #expect(try await up.run("audit", "key").output == (verifier ?? "") + "\n")
            }
        }

        @Test("unusable keys are refused with advice") func keys() async throws {
            try await Self.with { user, directory in
                var user = user
                let key = try #require(user.environment["JOBLEDGER_SEAL_KEY"])
                let again = try await user.run("audit", "key", "--out", key)
                #expect(again.code == 2 && again.errors.contains("cannot be made"), "\(again)")
                #expect(chmod(key, 0o644) == 0)
                let open = try await user.run("audit", "seal", "--until-head")
                #expect(open.code == 2 && open.errors.contains("chmod 600"), "\(open)")
                #expect(chmod(key, 0o600) == 0)
                user.environment["JOBLEDGER_SEAL_KEY"] = directory.appending(path: "none").path
                let missing = try await user.run("audit", "seal", "--until-head")
                #expect(missing.code == 2 && missing.errors.contains("jobledger audit key --out"), "\(missing)")
                user.environment["JOBLEDGER_SEAL_KEY"] = nil
                let unset = try await user.run("audit", "seal", "--until-head")
                #expect(unset.code == 2 && unset.errors.contains("JOBLEDGER_SEAL_KEY is not set"), "\(unset)")
                #expect(try await user.run("audit", "key").code == 2)
                user.environment["JOBLEDGER_SEAL_VERIFIER"] = "nonsense"
                let nonsense = try await user.run("audit", "verify")
                #expect(nonsense.code == 2 && nonsense.errors.contains("JOBLEDGER_SEAL_VERIFIER"), "\(nonsense)")
            }
        }
    }
}
