import EmbeddedServices
import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

extension EndToEnd {
    @Suite("serve") struct ServeTests {
        @Test("curl appends, follows a job to its end, and gets 204 when it reconnects") func curl() async throws {
            try await UserLedger.with { user in
                try await ServiceProcess.with(user) { service in
                    let path = "\(service.url)/v1/jobs/backtest-7/events"
                    func post(_ event: String) async throws -> Outcome {
                        try await service.curl(
                            "--fail-with-body", "-H", "Content-Type: application/json", path, "-d", event)
                    }
                    let first = try await post(#"{"type": "queued", "data": {"name": "SMA", "total": 3}}"#)
                    #expect(try first.code == 0 && first.json()["position"] == 1, "\(first)")
                    let following = try await service.follow("/v1/jobs/backtest-7/events")
                    _ = try await eventually("the first event") { following.output.contains("id: 1.") ? true : nil }
                    _ = try await post(#"{"type": "progress", "data": {"completed": 3}}"#)
                    _ = try await post(#"{"type": "finished"}"#)
                    let followed = try await following.end()
                    #expect(followed.code == 0)
                    #expect(
                        followed.lines.filter { $0.hasPrefix("id:") }.map { $0.prefix { $0 != "." } } == [
                            "id: 1", "id: 2", "id: 3",
                        ])
                    #expect(!followed.output.contains("event:"))
                    let again = try await service.curl(
                        "-o", "/dev/null", "-w", "%{http_code}", "-H", "Accept: text/event-stream", "-H",
                        "Last-Event-ID: 3", path
                    )
                    #expect(again.output == "204")
                    // For a large body, curl first sends Expect: 100-continue.
                    let large = String(repeating: "x", count: 2 << 20)
                    let file = try makeDirectory("curl").appending(path: "event.json")
                    try Data(#"{"type":"queued","data":{"name":"large","text":"\#(large)"}}"#.utf8).write(to: file)
                    let sent = try await service.curl(
                        "--fail-with-body", "-H", "Content-Type: application/json",
                        "\(service.url)/v1/jobs/large/events",
                        "--data-binary", "@\(file.path)")
                    #expect(sent.code == 0, "\(sent)")
                    try FileManager.default.removeItem(at: file.deletingLastPathComponent())
                }
            }
        }

        @Test("Python's sseclient-py follows a job and resumes") func sseclient() async throws {
            let python = try await PythonTools.python()
            try await UserLedger.with { user in
                try await ServiceProcess.with(user) { service in
                    try await user.ledger.queue("a")
                    for number in 1...3 { try await user.ledger.progress("a", number) }
                    let script = """
                        import json, os, requests, sseclient
                        url = os.environ["JOBLEDGER_URL"] + "/v1/jobs/a/events"
                        token = os.environ["JOBLEDGER_TOKEN"]
                        headers = {"Authorization": "Bearer " + token, "Accept": "text/event-stream"}
                        last = None
                        for attempt in range(2):
                            if last: headers["Last-Event-ID"] = last
                            for event in sseclient.SSEClient(requests.get(url, headers=headers, stream=True)).events():
                                last = event.id
                                data = json.loads(event.data)
                                position = event.id.split(".")[0]
                                print(event.event, position, data["type"], data["streamversion"], flush=True)
                                if attempt == 0 and event.id.startswith("2."): break
                        """
                    let client = try await python.start(
                        ["-c", script], environment: ["JOBLEDGER_URL": service.url, "JOBLEDGER_TOKEN": service.token])
                    _ = try await client.lines(4)
                    let end = try await user.run("append", "a", "finished")
                    #expect(end.code == 0)
                    let outcome = try await client.end()
                    #expect(
                        outcome.lines == [
                            "message 1 io.jobledger.job.queued 1", "message 2 io.jobledger.job.progress 2",
                            "message 3 io.jobledger.job.progress 3", "message 4 io.jobledger.job.progress 4",
                            "message 5 io.jobledger.job.finished 5",
                        ], "\(outcome)")
                }
            }
        }

        @Test("killed under load, it loses no answered event, and retries append nothing twice")
        func killed() async throws {
            try await UserLedger.with { user in
                let (callers, each) = (16, 40)
                for caller in 0..<callers { try await user.ledger.queue("j\(caller)") }
                let first = try await ServiceProcess.start(user)
                let (port, token) = (first.port, first.token)
                let answers = try await withThrowingTaskGroup(of: [(String, Int)].self) { group in
                    for caller in 0..<callers {
                        group.addTask {
                            var answers: [(String, Int)] = []
                            for number in 0..<each {
                                let id = UUID().uuidString.lowercased()
                                let event = #"{"event_id":"\#(id)","type":"progress","data":{"completed":\#(number)}}"#
                                answers.append((id, try await first.append(event, to: "j\(caller)").position))
                            }
                            return answers
                        }
                    }
                    // Meanwhile the service is killed again and again while it works.
                    var service = first
                    for round in 1...3 {
                        try await until("the log has grown") {
                            try await user.ledger.count() > callers + round * callers * each / 5
                        }
                        await service.program.kill()
                        service = try await ServiceProcess.start(user, port: port, token: token)
                    }
                    let answers = try await group.reduce(into: []) { $0 += $1 }
                    await service.program.kill()
                    return answers
                }
                #expect(answers.count == callers * each)
                #expect(try await user.ledger.count() == callers * each + callers)
                let connection = try await user.ledger.connect()
                for (id, position) in answers {
                    let found = try await connection.query("SELECT position FROM events WHERE event_id = $1::uuid", id)
                    #expect(try found.map { try $0.decode(0, as: Int64.self) } == [Int64(position)])
                }
                await connection.close()
            }
        }

        @Test(
            "told to stop, it answers the requests in progress, ends streams, and exits with 0",
            arguments: [SIGTERM, SIGINT])
        func stops(signal: Int32) async throws {
            try await UserLedger.with { user in
                try await user.ledger.queue("a")
                try await ServiceProcess.with(user) { service in
                    let following = try await service.follow("/v1/jobs/a/events")
                    _ = try await eventually("it follows") { following.output.contains("id: 1.") ? true : nil }
                    let appended = try await withThrowingTaskGroup(of: Int.self) { group in
                        for caller in 0..<8 {
                            group.addTask {
                                var count = 0
                                // The loop ends when the service is gone and refuses connections.
                                while true {
                                    let event = #"{"type":"progress","data":{"completed":\#(count * 8 + caller)}}"#
                                    guard let (status, _) = try? await service.ask("POST", "/v1/jobs/a/events", event),
                                        status == 201
                                    else { return count }
                                    count += 1
                                }
                            }
                        }
                        try await until("it is busy") { try await user.ledger.count() > 50 }
                        service.program.signal(signal)
                        return try await group.reduce(0, +)
                    }
                    let outcome = try await service.program.end()
                    #expect(outcome.code == 0, "\(outcome)")
                    let followed = try await following.end()
                    #expect(followed.code == 0 && followed.output.contains("retry: 2000\n"), "\(followed)")
                    // Every answered event is in the log.
                    #expect(try await user.ledger.count() >= appended + 1)
                }
            }
        }

        @Test("works without tokens only with --no-auth and on a loopback address") func noAuth() async throws {
            try await UserLedger.with { user in
                let refused = try await user.run("serve", "--port", "0", "--host", "0.0.0.0", "--no-auth")
                #expect(refused.code == 2 && refused.errors.contains("loopback"), "\(refused)")
                try await ServiceProcess.with(user, ["--no-auth"]) { service in
                    let curl = try await ServiceProcess.curl().run(["--silent", "\(service.url)/v1/events"])
                    #expect(try curl.json()["events"] == [])
                }
                try await ServiceProcess.with(user) { service in
                    let curl = try await ServiceProcess.curl().run([
                        "--silent", "-o", "/dev/null", "-w", "%{http_code}", "\(service.url)/v1/events",
                    ])
                    #expect(curl.output == "401")
                }
            }
        }

        @Test("serves HTTPS with a certificate and a key from files") func tls() async throws {
            let directory = try makeDirectory("tls")
            let (certificate, key) = (directory.appending(path: "cert.pem"), directory.appending(path: "key.pem"))
            try Data(TestCertificate.certificate.utf8).write(to: certificate)
            try Data(TestCertificate.key.utf8).write(to: key)
            try await UserLedger.with { user in
                try await user.ledger.queue("a")
                let settings = [
                    "JOBLEDGER_HTTP_TLS_CERTIFICATE": certificate.path, "JOBLEDGER_HTTP_TLS_KEY": key.path,
                ]
                try await ServiceProcess.with(user, environment: settings) { service in
                    #expect(service.url.hasPrefix("https://127.0.0.1:"))
                    let answer = try await service.curl("--cacert", certificate.path, "\(service.url)/v1/events")
                    #expect(try answer.json()["events"]?.elements.count == 1, "\(answer)")
                    let following = try await service.follow("/v1/events", "--cacert", certificate.path)
                    _ = try await eventually("it follows") { following.output.contains("id: 1.") ? true : nil }
                    await following.kill()
                    let plain = try await service.curl(service.url.replacing("https:", with: "http:") + "/livez")
                    #expect(plain.code != 0)
                }
                let broken = settings.merging(["JOBLEDGER_HTTP_TLS_KEY": certificate.path]) { $1 }
                let refused = try await Program.jobledger.run(
                    ["serve", "--port", "0"], environment: user.environment.merging(broken) { $1 })
                #expect(refused.code == 2 && refused.errors.contains("JOBLEDGER_HTTP_TLS_KEY"), "\(refused)")
            }
            try FileManager.default.removeItem(at: directory)
        }

        @Test("tokens are made, listed and revoked on the command line") func tokens() async throws {
            try await UserLedger.with { user in
                let made = try await user.run(
                    "token", "create", "--scope", "append,read", "--name", "backtester", "--json"
                )
                .json()
                #expect(made["scopes"] == ["append", "read"] && made["name"] == "backtester")
                let id = try #require(made["id"]?.text)
                let token = try #require(made["token"]?.text)
                #expect(token.hasPrefix("jl_\(id)_"))
                let listed = try await user.run("token", "list", "--json")
                #expect(try listed.jsonLines().map { $0["id"]?.text } == [id])
                #expect(!listed.output.contains(token.suffix(43)))
                #expect(try await user.run("token", "revoke", id).code == 0)
                #expect(try await user.run("token", "revoke", id).code == 1)
                #expect(try await user.run("token", "list", "--json").jsonLines()[0]["revoked_at"]?.text != nil)
                for scope in ["", "write", "read write"] {
                    #expect(try await user.run("token", "create", "--scope", scope).code == 2, "\(scope)")
                }
            }
        }

        @Test("started while the database is away, it waits for it, and ends when it is told to")
        func waitsForTheDatabase() async throws {
            let directory = TestServers.directory("late-postgres")
            defer { try? FileManager.default.removeItem(at: directory) }
            let server = try await PrivatePostgres.start(directory: directory, settings: ["fsync": "off"])
            do {
                try await TestLedger.with(url: server.url) { ledger in
                    let environment = ["DATABASE_URL": ledger.url, "JOBLEDGER_SCHEMA": ledger.name.text]
                    try await server.kill()
                    var programs: [RunningProgram] = []
                    for _ in 1...2 {
                        programs.append(
                            try await Program.jobledger.start(["serve", "--port", "0"], environment: environment))
                    }
                    let (waiting, stopped) = (programs[0], programs[1])
                    // That is, each has tried to reach it for as long as it may.
                    for program in programs { try await program.says("the service waits for it before it listens") }
                    stopped.signal(SIGTERM)
                    let outcome = try await stopped.end()
                    #expect(outcome.code == 0 && outcome.output.isEmpty, "\(outcome)")
                    #expect(waiting.isRunning && waiting.lines.isEmpty)

                    try await server.restart()
                    let url = try await waiting.lines(1)[0]
                    let alive = try await ServiceProcess.curl().run(["--silent", "--fail", url + "/livez"])
                    #expect(alive.code == 0, "\(alive)")
                    waiting.signal(SIGTERM)
                    let end = try await waiting.end()
                    #expect(end.code == 0 && end.errors.contains("the ledger answers"), "\(end)")
                }
            } catch {
                try await server.stop()
                throw error
            }
            try await server.stop()
        }

        @Test("does not wait for what does not pass: a wrong password, a ledger that does not exist")
        func doesNotWaitInVain() async throws {
            let url = try await TestServers.shared.postgresURL()
            async let unwanted = Program.jobledger.run(
                ["serve", "--port", "0"], environment: ["DATABASE_URL": url.replacing(/:[^:@]*@/, with: ":wrong@")])
            async let missing = Program.jobledger.run(
                ["serve", "--port", "0"], environment: ["DATABASE_URL": url, "JOBLEDGER_SCHEMA": "nowhere"])
            let (refused, absent) = try await (unwanted, missing)
            #expect(refused.code == 3 && refused.output.isEmpty, "\(refused)")
            #expect(refused.errors.contains("password authentication failed"), "\(refused)")
            #expect(absent.code == 1 && absent.output.isEmpty, "\(absent)")
            #expect(absent.errors.contains("does the ledger exist?"), "\(absent)")
        }

        @Test("goes on serving, in bounded memory, under thousands of half-open connections")
        func halfOpen() async throws {
            try await UserLedger.with { user in
                try await user.ledger.queue("a")
                // As many as this process may open, and at most ten thousand.
                let count = min(10_000, raiseOpenFiles() - 500)
                try #require(count >= 500)
                try await ServiceProcess.with(user, environment: ["JOBLEDGER_HTTP_CONNECTIONS": "\(count * 4 / 5)"]) {
                    service in
                    let before = service.memory
                    let connections = try HalfOpenConnections(port: service.port, count: count)
                    let answered = try await service.append(#"{"type":"progress","data":{"completed":1}}"#, to: "a")
                    #expect(answered.position == 2)
                    for _ in 0..<20 { #expect(try await service.ask("GET", "/v1/jobs/a/events").status == 200) }
                    // Older ones were closed for newer ones, so there are never more than the
                    // limit.
                    let (_, metrics) = try await service.ask("GET", "/metrics")
                    let open = metrics.firstMatch(of: /jobledger_http_connections (\d+)/).flatMap { Int($0.1) }
                    #expect(open.map { $0 <= count * 4 / 5 } == true, "\(String(describing: open))")
                    let after = service.memory
                    #expect(
                        after - before < 60 + count / 25, "\(before) MB before, \(after) MB with \(count) connections")
                    connections.close()
                }
            }
        }

        /// One process that reads all streams from plain sockets, and counts those that did not get
        /// the versions 1, 2, 3 … of their job.
        private static let crowdReader = #"""
            import os, re, selectors, socket, sys, time
            port, token = int(sys.argv[1]), sys.argv[2]
            clients, jobs, each = int(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5])
            poll, rest, versions, open_ = selectors.DefaultSelector(), {}, {}, clients
            for n in range(clients):
                s = socket.create_connection(("127.0.0.1", port))
                s.sendall((f"GET /v1/jobs/j{n % jobs}/events HTTP/1.1\r\nHost: x\r\n"
                           f"Authorization: Bearer {token}\r\nAccept: text/event-stream\r\n\r\n").encode())
                poll.register(s, selectors.EVENT_READ, n)
                rest[n], versions[n] = b"", []
            started = set()
            while open_:
                for key, _ in poll.select(60):
                    n, chunk = key.data, key.fileobj.recv(65536)
                    rest[n] += chunk
                    *lines, rest[n] = rest[n].split(b"\n")
                    for line in lines:
                        if line.startswith(b"data: "):
                            versions[n].append(int(re.search(rb'"streamversion":(\d+)', line).group(1)))
                    if versions[n] and n not in started:
                        started.add(n)
                        if len(started) == clients: print("following", flush=True)
                    if versions[n] and versions[n][-1] == each + 2 and n in started:
                        poll.unregister(key.fileobj); open_ -= 1
            wrong = [n for n in range(clients) if versions[n] != list(range(1, each + 3))]
            print("wrong", len(wrong), flush=True)
            """#

        @Test("two hundred streams each get every event of their job, once and in order") func crowd() async throws {
            let python = try await PythonTools.python()
            try await UserLedger.with { user in
                let (clients, jobs, each) = (200, 20, 50)
                for job in 0..<jobs { try await user.ledger.queue("j\(job)") }
                try await ServiceProcess.with(user) { service in
                    let reader = try await python.start([
                        "-c", Self.crowdReader, "\(service.port)", service.token, "\(clients)", "\(jobs)", "\(each)",
                    ])
                    _ = try await reader.lines(1)
                    for number in 1...each {
                        let events = (0..<jobs).map {
                            #"{"job":"j\#($0)","type":"progress","data":{"completed":\#(number)}}"#
                        }
                        _ = try await service.ask("POST", "/v1/events", "[" + events.joined(separator: ",") + "]")
                    }
                    let ends = (0..<jobs).map { #"{"job":"j\#($0)","type":"finished"}"# }
                    _ = try await service.ask("POST", "/v1/events", "[" + ends.joined(separator: ",") + "]")
                    let outcome = try await reader.end(within: .seconds(180))
                    #expect(outcome.lines == ["following", "wrong 0"], "\(outcome)")
                }
            }
        }
    }
}
