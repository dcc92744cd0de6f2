import EmbeddedServices
import Foundation
import LedgerTesting
import Testing

extension EndToEnd {
    /// How a browser gets in, with curl in its place.
    @Suite("dashboard") struct DashboardTests {
        /// A browser: it keeps cookies in a file.
        private struct Jar {
            let directory: URL

            init() throws { directory = try makeDirectory("browser") }

            /// - Returns: the head of the answer.
            func open(_ url: String, _ arguments: String...) async throws -> String {
                let jar = directory.appending(path: "cookies").path
                return try await ServiceProcess.curl().run(
                    [
                        "--silent", "--show-error", "--cookie", jar, "--cookie-jar", jar, "--output", "/dev/null",
                        "--dump-header", "-", url,
                    ] + arguments
                ).output
            }

            func status(_ url: String, _ arguments: String...) async throws -> Int {
                let jar = directory.appending(path: "cookies").path
                let outcome = try await ServiceProcess.curl().run(
                    ["--silent", "--cookie", jar, "--output", "/dev/null", "--write-out", "%{http_code}", url]
                        + arguments)
                return Int(outcome.output) ?? -1
            }
        }

        private func isSignedIn(_ head: String) -> Bool {
            head.hasPrefix("HTTP/1.1 303") && head.contains("Location: /\r\n")
                && head.contains("Set-Cookie: jobledger_")
        }

        @Test("up prints an address that signs one browser in, and env has another") func up() async throws {
            try await UpProcess.with { up in
                try await up.program.says("jobledger dashboard --data-dir")
                let line = try #require(
                    up.program.errors.split(separator: "\n").first { $0.contains("Look at it: ") })
                let printed = try #require(line.split(separator: " ").last.map(String.init))
                let written = try #require(try up.address("JOBLEDGER_DASHBOARD_URL"))
                let service = try #require(try up.address("JOBLEDGER_URL"))
                #expect(printed != written && printed.hasPrefix("\(service)/sign-in?code="))
                #expect(written.hasPrefix("\(service)/sign-in?code="))
                for address in [printed, written] {
                    let (first, second) = (try Jar(), try Jar())
                    #expect(try await first.status("\(service)/v1/events") == 401)
                    #expect(isSignedIn(try await first.open(address)))
                    #expect(try await first.status("\(service)/v1/events") == 200)
                    #expect(try await first.status("\(service)/") == 200)
                    let again = try await second.open(address)
                    #expect(again.contains("Location: /?signed-out=code-used") && !again.contains("Set-Cookie"))
                    #expect(try await second.status("\(service)/v1/events") == 401)
                }
                // The page says how to get another: by this command.
                let browser = try Jar()
                let outcome = try await up.run("dashboard", "--json")
                let answer = try outcome.json()
                let token = try #require(answer["token"]?.text)
                #expect(answer["expires_at"]?.text != nil, "\(outcome)")
                #expect(isSignedIn(try await browser.open(try #require(answer["url"]?.text))))
                let plain = try await up.run("dashboard")
                #expect(plain.lines.count == 1 && plain.errors.contains(token), "\(plain)")
                #expect(try await up.run("token", "revoke", token).code == 0)
                try await until("the session ends with the token") {
                    try await browser.status("\(service)/v1/events") == 401
                }
                let refused = try await up.run("dashboard", "--token", token)
                #expect(refused.code == 1 && refused.output == "" && refused.errors.contains(token), "\(refused)")
            }
        }

        @Test("needs no more than the roles of the service") func roles() async throws {
            try await UserLedger.with { user in
                let name = "u_\(UInt64.random(in: 0 ... .max))"
                let groups = ["appender", "reader"].map { "\"\(user.ledger.name)_\($0)\"" }.joined(separator: ", ")
                #expect(try await user.psql("CREATE ROLE \(name) LOGIN PASSWORD 'secret' IN ROLE \(groups)").code == 0)
                var url = try #require(URLComponents(string: user.ledger.url))
                (url.user, url.password) = (name, "secret")
                let database = ["DATABASE_URL": try #require(url.string)]
                try await ServiceProcess.with(user, environment: database) { service in
                    let browser = try Jar()
                    let address = try await user.run("dashboard", "--url", service.url + "/").lines[0]
                    #expect(isSignedIn(try await browser.open(address)))
                    #expect(try await browser.status("\(service.url)/v1/events") == 200)
                    let head = try await browser.open(
                        "\(service.url)/v1/session", "--json", #"{"token": "\#(service.token)"}"#)
                    #expect(head.hasPrefix("HTTP/1.1 200"), "\(head)")
                    #expect(try await browser.open("\(service.url)/v1/session", "-X", "DELETE").contains(" 204 "))
                    #expect(try await browser.status("\(service.url)/v1/events") == 401)
                }
                // Who serves makes no codes.
                let refused = try await Program.jobledger.run(
                    ["dashboard", "--url", "http://127.0.0.1:1"],
                    environment: user.environment.merging(database) { $1 })
                #expect(refused.code == 1 && refused.output == "", "\(refused)")
                #expect(try await user.psql("DROP ROLE \(name)").code == 0)
            }
        }

        @Test("over TLS the cookie is for TLS and this host only") func tls() async throws {
            let directory = try makeDirectory("tls")
            defer { try? FileManager.default.removeItem(at: directory) }
            let (certificate, key) = (directory.appending(path: "cert.pem"), directory.appending(path: "key.pem"))
            try Data(TestCertificate.certificate.utf8).write(to: certificate)
            try Data(TestCertificate.key.utf8).write(to: key)
            let settings = ["JOBLEDGER_HTTP_TLS_CERTIFICATE": certificate.path, "JOBLEDGER_HTTP_TLS_KEY": key.path]
            try await UserLedger.with { user in
                try await ServiceProcess.with(user, environment: settings) { service in
                    let address = try await user.run("dashboard", "--url", service.url).lines[0]
                    let browser = try Jar()
                    let head = try await browser.open(address, "--cacert", certificate.path)
                    #expect(head.contains("Set-Cookie: __Host-jobledger_") && head.contains("; Secure"), "\(head)")
                    #expect(try await browser.status("\(service.url)/v1/events", "--cacert", certificate.path) == 200)
                }
            }
        }

        @Test("is off where the settings say so, and comes from a folder for those who work on it")
        func settings() async throws {
            let folder = try makeDirectory("dashboard")
            defer { try? FileManager.default.removeItem(at: folder) }
            let missing = try await Program.jobledger.run(
                ["serve", "--dashboard-dir", folder.path], environment: ["DATABASE_URL": "postgresql://127.0.0.1:1/x"])
            #expect(missing.code == 2 && missing.errors.contains("index.html"), "\(missing)")
            try Data("<p>mine</p>".utf8).write(to: folder.appending(path: "index.html"))
            let off = ["JOBLEDGER_HTTP_DASHBOARD": "off"]
            try await UserLedger.with { user in
                try await ServiceProcess.with(user, ["--dashboard-dir", folder.path]) { service in
                    let page = try await ServiceProcess.curl().run(["--silent", "\(service.url)/jobs"])
                    #expect(page.output == "<p>mine</p>")
                }
                try await ServiceProcess.with(user, environment: off) { service in
                    let browser = try Jar()
                    #expect(try await browser.status("\(service.url)/") == 404)
                }
                let environment = user.environment.merging(off) { $1 }
                let both = try await Program.jobledger.run(
                    ["serve", "--port", "0", "--dashboard-dir", folder.path], environment: environment)
                #expect(both.code == 2 && both.errors.contains("JOBLEDGER_HTTP_DASHBOARD"), "\(both)")
                let none = try await Program.jobledger.run(
                    ["dashboard", "--url", "http://127.0.0.1:1"], environment: environment)
                #expect(none.code == 2 && none.errors.contains("JOBLEDGER_HTTP_DASHBOARD is off"), "\(none)")
            }
        }
    }
}
