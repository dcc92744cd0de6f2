import Foundation
import Testing

extension Dashboard {
    @Suite("proofs") struct ProofTests {
        /// Runs `body` with a ledger of two jobs that is sealed, in a tab that has pinned its key.
        private static func with(_ body: (Tab, ServedLedger, _ directory: URL) async throws -> Void) async throws {
            let browser = try Stage.shared.browser
            let directory = try makeDirectory("seal")
            let key = directory.appending(path: "seal.key").path
            try await ServedLedger.with(["JOBLEDGER_SEAL_KEY": key]) { served, _ in
                let ledger = served.ledger
                let verifier = try await ledger.run("audit", "key", "--out", key).trimmed
                for job in ["a", "b"] { try await ledger.append(job, "queued", #"{"name": "\#(job)", "total": 4}"#) }
                try await ledger.append("a", "progress", #"{"completed": 1}"#)
                try await ledger.append("a", "failed", #"{"error": "out of memory"}"#, actor: "eve")
                try await ledger.run("audit", "seal", "--until-head")
                try await ledger.tab(browser, expecting: ["the server responded with a status of"]) { tab in
                    try await tab.open("/audit?show=proof")
                    try await tab.untilText("No verifier key is pinned", in: ".witness")
                    try await Self.pin(verifier, tab)
                    try await tab.untilThere(".witness .verdict[data-tone=good]")
                    try await body(tab, served, directory)
                }
            }
            try? FileManager.default.removeItem(at: directory)
        }

        private static func pin(_ key: String, _ tab: Tab) async throws {
            try await tab.enter(key, into: "#pin")
            try await tab.click(text: "Pin this key", in: ".witness")
        }

        /// Waits for a verdict: its tone, and a part of what it says.
        private static func expect(_ tone: String, _ text: String, _ tab: Tab, in place: String) async throws {
            try await tab.until(
                "“\(text)”",
                """
                const box = document.querySelector(given[2])
                return box.dataset.tone === given[0] && box.innerText.includes(given[1])
                """, .string(tone), .string(text), .string("\(place) .verdict-box"))
        }

        @Test("the browser checks events, jobs and files, and finds what was tampered with")
        func proofs() async throws {
            try await Self.with { tab, served, directory in
                let ledger = served.ledger
                try await tab.open("/audit?show=proof&kind=event&proof=4")
                try await Self.expect("good", "Proved", tab, in: ".proof")
                try await Self.expect("good", "of the same history", tab, in: ".proof")
                try await tab.open("/jobs/a")
                try await tab.click(text: "Check the whole job", in: ".proof-check")
                try await Self.expect("good", "The whole life of the job is proved", tab, in: ".proof-check")

                let file = directory.appending(path: "proof").path
                try await ledger.run("audit", "prove", "4", "--out", file)
                try await tab.open("/audit?show=proof")
                try await tab.give(file, to: ".proof input[type=file]")
                try await Self.expect("good", "The file proves 1 event", tab, in: ".proof")
                // The same with another error in it.
                let text = try String(contentsOfFile: file, encoding: .utf8)
                let extra = try #require(text.split(separator: "\n").first { $0.hasPrefix("extra ") })
                let bytes = try #require(Data(base64Encoded: String(extra.dropFirst(6))))
                let event = String(decoding: bytes, as: UTF8.self)
                #expect(event.contains("memory"))
                let forged = "extra \(Data(event.replacing("memory", with: "mercury").utf8).base64EncodedString())"
                try Data(text.replacing(extra, with: forged).utf8).write(to: URL(filePath: file))
                try await tab.give(file, to: ".proof input[type=file]")
                try await Self.expect("bad", "No such event was sealed at position 4", tab, in: ".proof")
                try await Self.expect("bad", "The proof fails", tab, in: ".proof")
                // Anybody can write a file: it is no alarm about the ledger.
                #expect(try await tab.count(".alarm") == 0)

                // An event that was altered in the database: the ledger has no proof of it.
                try await ledger.execute(
                    Self.tampering("UPDATE events SET metadata = '{\"actor\":\"bob\"}' WHERE position = 4"))
                try await tab.open("/audit?show=proof&kind=event&proof=4")
                try await Self.expect("bad", "The ledger itself says that something was altered", tab, in: ".proof")
                let isRed = try await tab.run(
                    """
                    const context = document.createElement("canvas").getContext("2d")
                    const badge = document.querySelector(".proof .verdict .badge")
                    context.fillStyle = getComputedStyle(badge).backgroundColor
                    context.fillRect(0, 0, 1, 1)
                    const [red, green, blue] = context.getImageData(0, 0, 1, 1).data
                    return red > green + 40 && red > blue + 40
                    """)
                #expect(isRed == true)
            }
        }

        @Test("a checkpoint of another key, and a history that was rewritten, are said in words and stay")
        func rewritten() async throws {
            try await Self.with { tab, served, directory in
                let ledger = served.ledger
                let name = try await tab.run("return document.querySelector('.witness dd').innerText").text ?? ""
                // An attacker with the database and the key rewrites the history, and seals it.
                try await ledger.execute(
                    Self.tampering(
                        """
                        UPDATE events SET metadata = '{"actor":"ada"}' WHERE position = 4;
                        DELETE FROM seal_tiles; DELETE FROM seal_checkpoints; UPDATE seal SET size = 0, edge = ''
                        """))
                try FileManager.default.removeItem(at: directory.appending(path: "seal.key.signed"))
                try await ledger.run("audit", "seal", "--until-head")
                try await tab.click(text: "Look now", in: ".witness")
                let alarm = "the history of “\(name)” was rewritten"
                try await tab.untilText(alarm, in: ".alarm")
                // It stays over a new visit, is in the header of a job, and has the evidence.
                try await tab.open("/jobs/a")
                try await tab.untilText("history does not fit", in: ".witness-badge")
                try await tab.open("/audit?show=proof")
                try await tab.untilText(alarm, in: ".alarm")
                #expect(try await tab.count(".alarm pre") == 2)

                // Another key of the same name.
                let other = try await ledger.run(
                    "audit", "key", "--out", directory.appending(path: "other.key").path, "--name", name
                ).trimmed
                try await tab.run("localStorage.clear()")
                try await tab.reload()
                try await Self.pin(other, tab)
                try await tab.until(
                    "it is not signed by this key",
                    """
                    const verdict = document.querySelector(".witness .verdict")
                    return verdict.dataset.tone === "bad" && /sign/.test(verdict.innerText)
                    """)
            }
        }

        @Test("the checks hold against trees and keys made in the plainest way") func vectors() async throws {
            let browser = try Stage.shared.browser
            try await StaticFiles.with { files in
                try await Tab.with(browser, at: files.address) { tab in
                    try await tab.open("/Tests/Dashboard/")
                    let results = try await tab.run(
                        """
                        const { run } = await import("/Tests/Dashboard/proof/tests.js")
                        const vectors = await (await fetch("/Tests/Dashboard/proof/vectors.json")).json()
                        return run(vectors)
                        """
                    ).elements
                    #expect(results.count > 20)
                    for result in results where result["problem"] != .null { Issue.record("\(result)") }
                }
            }
        }

        /// Changes tables as a superuser can who disables all triggers.
        private static func tampering(_ statement: String) -> String {
            ["events", "seal_tiles", "seal_checkpoints"].map { "ALTER TABLE \($0) DISABLE TRIGGER ALL; " }.joined()
                + statement
        }
    }
}
