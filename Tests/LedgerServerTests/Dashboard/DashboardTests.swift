import Foundation
import LedgerTesting
import Testing

@testable import LedgerServer

/// The files of the dashboard, and the headers that protect the page.
@Suite struct DashboardTests {
    private static let policy = """
        default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
        font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'
        """

    private func expectProtected(_ answer: TestService.Answer, _ path: String) {
        #expect(answer.headers["content-security-policy"] == Self.policy, "\(path)")
        #expect(answer.headers["x-content-type-options"] == "nosniff", "\(path)")
        #expect(answer.headers["referrer-policy"] == "no-referrer", "\(path)")
        #expect(answer.headers["cross-origin-opener-policy"] == "same-origin", "\(path)")
        #expect(answer.headers["cache-control"] == "no-cache", "\(path)")
        #expect(answer.headers["etag"]?.wholeMatch(of: /"[0-9a-f]{32}"/) != nil, "\(path)")
    }

    @Test func everyAddressOfThePageAnswersWithIt() async throws {
        try await TestService.with { service in
            let page = try await service.ask("GET", "/", token: "")
            for path in [
                "/", "/jobs", "/jobs?at=7&status=running", "/jobs/a", "/jobs/a%2Fb", "/timeline", "/compare", "/audit",
                "/operations", "/?signed-out=code-used", "/dashboard/index.html",
            ] {
                let answer = try await service.ask("GET", path, token: "")
                #expect(answer.status == 200 && answer.body == page.body && !answer.body.isEmpty, "\(path)")
                #expect(answer.headers["content-type"] == "text/html; charset=utf-8")
                expectProtected(answer, path)
                let head = try await service.ask("HEAD", path, token: "")
                #expect(head.status == 200 && head.body.isEmpty)
                #expect(head.headers["content-length"] == "\(page.body.count)")
                expectProtected(head, path)
            }
            let post = try await service.ask("POST", "/", "{}", token: "")
            #expect(post.status == 405 && post.headers["allow"] == "GET, HEAD, OPTIONS")
        }
    }

    @Test func whatTheBrowserHasIsNotSentAgain() async throws {
        try await TestService.with { service in
            let tag = try #require(try await service.ask("GET", "/", token: "").headers["etag"])
            for method in ["GET", "HEAD"] {
                for sent in [tag, "W/\(tag)", "\"a\", \(tag)", "*", "\"a\",W/\(tag) , \"b\""] {
                    let answer = try await service.ask(method, "/", token: "", headers: ["if-none-match": sent])
                    #expect(answer.status == 304 && answer.body.isEmpty, "\(sent): \(answer)")
                    #expect(answer.headers["content-type"] == nil)
                    expectProtected(answer, sent)
                }
                for sent in ["\"a\"", "", tag.replacing("\"", with: ""), "\"\(tag)\"", "\(tag)x"] {
                    let answer = try await service.ask(method, "/", token: "", headers: ["if-none-match": sent])
                    #expect(answer.status == 200, "\(sent): \(answer)")
                }
            }
        }
    }

    @Test func noPathLeavesTheFolder() async throws {
        let folder = TestServers.directory("dashboard")
        try FileManager.default.createDirectory(
            at: folder.appending(path: "files/core"), withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        for (name, text) in [
            ("secret.js", "secret"), ("files/index.html", "<p>page</p>"), ("files/core/api.js", "export {}"),
            ("files/.hidden.js", "secret"),
        ] {
            try Data(text.utf8).write(to: folder.appending(path: name))
        }
        try FileManager.default.createSymbolicLink(
            at: folder.appending(path: "files/link.js"), withDestinationURL: folder.appending(path: "secret.js"))
        for files in [nil, folder.appending(path: "files").path] {
            try await TestService.with(dashboardFolder: files) { service in
                for path in [
                    "/dashboard/", "/dashboard/nothing.js", "/dashboard/../secret.js", "/dashboard/%2e%2e/secret.js",
                    "/dashboard/%2e%2e%2fsecret.js", "/dashboard/..%2Fsecret.js", "/dashboard/core/../../secret.js",
                    "/dashboard/core/%2E%2E/%2E%2E/secret.js", "/dashboard/./index.html", "/dashboard//index.html",
                    "/dashboard/index.html/", "/dashboard/index.html%00", "/dashboard/index.html%00.js",
                    "/dashboard/link.js", "/dashboard/.hidden.js", "/dashboard/core", "/dashboard/core/",
                    "/dashboard/..\\secret.js", "/dashboard/%5c..%5csecret.js", "/dashboard/\(folder.path)/secret.js",
                    "/dashboard/../api/openapi.json", "/dashboard/%2e%2e/api/openapi.json", "/api/openapi.json",
                    "/dashboard/INDEX.HTML", "/dashboard/index.html%20", "/dashboard/%FF",
                ] {
                    let connection = try RawConnection(service.url)
                    try connection.send("GET \(path) HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    let answer = try await connection.answer()
                    #expect(answer.contains(" 404 ") || answer.contains(" 400 "), "\(path): \(answer)")
                    #expect(!answer.contains("secret\n") && !answer.hasSuffix("secret"), "\(path)")
                    #expect(!answer.contains("\"openapi\""), "\(path)")
                }
            }
        }
    }

    @Test func aFolderIsReadAtEachRequest() async throws {
        let folder = TestServers.directory("dashboard")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        @Sendable func write(_ text: String, _ name: String) throws {
            try Data(text.utf8).write(to: folder.appending(path: name))
        }
        try write("<p>one</p>", "index.html")
        try await TestService.with(dashboardFolder: folder.path) { service in
            let first = try await service.ask("GET", "/jobs", token: "")
            #expect(first.text == "<p>one</p>")
            try write("<p>two</p>", "index.html")
            let tag = try #require(first.headers["etag"])
            let second = try await service.ask("GET", "/jobs", token: "", headers: ["if-none-match": tag])
            #expect(second.status == 200 && second.text == "<p>two</p>" && second.headers["etag"] != tag)
            for (name, type) in [
                ("a.js", "text/javascript; charset=utf-8"), ("a.css", "text/css; charset=utf-8"),
                ("a.svg", "image/svg+xml"), ("a.json", "application/json"), ("a", "application/octet-stream"),
                ("a.min.js", "text/javascript; charset=utf-8"),
            ] {
                try write("x", name)
                let answer = try await service.ask("GET", "/dashboard/\(name)", token: "")
                #expect(answer.status == 200 && answer.headers["content-type"] == type, "\(answer)")
                expectProtected(answer, name)
            }
        }
    }

    @Test func aFolderWithoutThePageIsAMistake() async throws {
        await #expect(throws: LedgerService.Mistake.self) {
            try await TestService.with(dashboardFolder: "/no/such/folder") { _ in }
        }
    }

    @Test func pathsOfFilesAreRecognized() {
        for path in ["index.html", "core/dom.js", "style/a-b_c.1.css"] { #expect(DashboardFiles.isPath(path)) }
        for path in ["", "/", "/a", "a/", "a//b", "..", "a/..", "../a", ".a", "a/.b", "a\\b", "a b", "ä", "a\u{0}"] {
            #expect(!DashboardFiles.isPath(path), "\(path)")
        }
    }
}
