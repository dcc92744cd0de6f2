import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("top") struct TopTests {
        /// Three jobs: one fails, one makes progress, one waits. The newest is first in the table.
        private static func fill(_ user: UserLedger) async throws {
            let store = user.ledger.store
            for (job, name) in [("a", "first"), ("b", "日本株 grid"), ("c", "\u{1B}]0;x\u{7} third")] {
                let data = try String(
                    decoding: JSONEncoder().encode(["name": name]).dropLast() + Data(#","total":200}"#.utf8),
                    as: UTF8.self)
                _ = try await store.append(
                    NewEvent(type: "queued", data: data, metadata: #"{"actor":"ada"}"#), to: JobID(job))
            }
            try await user.ledger.progress("a", 10)
            _ = try await store.append(NewEvent(type: "failed", data: #"{"error":"out of memory"}"#), to: "a")
            try await user.ledger.progress("b", 50)
            try await user.untilProjected()
        }

        @Test("shows the jobs, follows them, filters, opens one, and gives the terminal back") func table() async throws
        {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                try await user.inTerminal("top") { terminal in
                    let first = try await terminal.shows("the jobs") { $0.lines.last?.contains("quit") == true }
                    #expect(await terminal.screen.isAlternate)
                    #expect(first[0].contains("jobledger top") && first[1].contains("1 running"))
                    #expect(first[3].hasPrefix("> ○ queued") && first[3].contains("\u{FFFD}]0;x\u{FFFD} third"))
                    #expect(first[4].contains("▸ running") && first[4].contains("日本株 grid") && first[4].contains("25%"))
                    #expect(first[5].contains("✗ failed") && first[5].contains("ada"))

                    // It is live.
                    try await user.ledger.progress("b", 100)
                    try await terminal.shows("50%")

                    await terminal.type("j\u{1B}[B")
                    try await terminal.shows("the last selected") { $0.lines.count > 5 && $0.lines[5].hasPrefix("> ✗") }
                    await terminal.type("\r")
                    let job = try await terminal.shows("out of memory")
                    #expect(job[1].contains("✗ failed  first"))
                    #expect(job.contains { $0.contains(#"progress   {"completed":10}"#) })
                    await terminal.type("\u{1B}")
                    try await terminal.shows("sorted by queued")

                    await terminal.type("/grid")
                    try await terminal.shows("one job") { $0.lines.filter { $0.contains("○") }.count == 1 }
                    await terminal.type("\r\r")
                    try await terminal.shows("following")
                    try await user.ledger.progress("b", 150)
                    try await terminal.shows(#"{"completed":150}"#)
                    await terminal.type("?")
                    try await terminal.shows("reverse the order")
                    await terminal.type("qqq")
                    #expect(try await terminal.ended() == 0)
                }
            }
        }

        private static let ends: [(keys: String, signal: Int32, code: Int32)] = [
            ("q", 0, 0), ("\u{3}", 0, 130), ("", SIGTERM, 143), ("", SIGINT, 130), ("", SIGHUP, 129),
            ("", SIGQUIT, 131), ("", SIGSEGV, 139),
        ]

        @Test("gives the terminal back at every end, and after it was suspended") func everyEnd() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                for (keys, signal, code) in Self.ends {
                    try await user.inTerminal("top") { terminal in
                        try await terminal.shows("third")
                        await terminal.type(keys)
                        if signal != 0 { await terminal.signal(signal) }
                        #expect(try await terminal.ended() == code, "\(keys) \(signal)")
                    }
                }
                try await user.inTerminal("top") { terminal in
                    try await terminal.shows("third")
                    await terminal.type("\u{1A}")
                    let lines = try await terminal.shows("suspended")
                    let modes = lines.filter { $0.hasPrefix("before ") || $0.hasPrefix("suspended ") }
                        .compactMap { $0.split(separator: " ").last }
                    #expect(modes.count == 2 && Set(modes).count == 1, "\(lines)")
                    #expect(await !terminal.screen.isAlternate)
                    await terminal.type("\n")
                    try await terminal.shows("third")
                    await terminal.type("q")
                    #expect(try await terminal.ended() == 0)
                }
            }
        }

        @Test("fits any terminal, and has no colours where they are not wanted") func sizes() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                try await user.inTerminal("top", adding: ["NO_COLOR": "1"], columns: 40, rows: 15) { terminal in
                    let narrow = try await terminal.shows("third")
                    #expect(
                        narrow[4].contains("▸ running") && narrow[4].contains("25%") && narrow[14].contains("q quit"))
                    await terminal.resize(columns: 120, rows: 40)
                    let wide = try await terminal.shows("the whole screen") { $0.lines[39].contains("q quit") }
                    #expect(wide[2].contains("actor") && wide[4].contains("日本株 grid"))
                    #expect(await terminal.screen.colors == [])
                    await terminal.type("q")
                    #expect(try await terminal.ended() == 0)
                }
                try await user.inTerminal("top", "--status", "failed", "--sort", "name") { terminal in
                    let lines = try await terminal.shows("only failed")
                    #expect(lines[1].hasSuffix("sorted by name ↑") && lines[4].hasPrefix("> ✗ failed"))
                    #expect(await !terminal.screen.colors.isEmpty)
                }
            }
        }

        @Test("goes on by itself after the ledger was away") func away() async throws {
            try await UserLedger.with(projecting: true) { user in
                try await Self.fill(user)
                let proxy = try CuttingProxy(before: user.ledger.url)
                defer { proxy.stop() }
                let address = proxy.address(insteadOf: user.ledger.url)
                try await user.inTerminal("top", adding: ["DATABASE_URL": address]) { terminal in
                    try await terminal.shows("live")
                    proxy.breakConnections(after: 1)
                    try await terminal.shows("away")
                    // What was known stays, and keys work.
                    try await terminal.shows("日本株 grid")
                    await terminal.type("j")
                    try await terminal.shows("the second selected") { $0.lines[4].hasPrefix("> ▸") }
                    try await user.ledger.progress("b", 180)
                    proxy.breakConnections(after: nil)
                    try await terminal.shows("90%")
                    try await terminal.shows("live")
                    proxy.breakConnections(after: 1)
                    try await terminal.shows("away")
                    await terminal.type("q")
                    #expect(try await terminal.ended() == 0)
                }
            }
        }
    }
}
