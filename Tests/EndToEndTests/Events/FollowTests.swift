import EventStore
import Foundation
import LedgerCore
import LedgerTesting
import Testing

extension EndToEnd {
    @Suite("tail") struct TailTests {
        /// Appends six events of two jobs: a queued, b queued, a progress, a progress, b failed, a
        /// finished.
        private static func fill(_ ledger: TestLedger) async throws {
            try await ledger.queue("a", total: 9)
            try await ledger.queue("b")
            try await ledger.progress("a", 1)
            try await ledger.progress("a", 2)
            _ = try await ledger.store.append(NewEvent(type: "failed", data: #"{"error":"x"}"#), to: "b")
            _ = try await ledger.store.append(NewEvent(type: "finished"), to: "a")
        }

        private static let selections: [(arguments: [String], positions: [String])] = [
            ([], ["1", "2", "3", "4", "5", "6"]),
            (["--job", "b"], ["2", "5"]),
            (["--type", "queued"], ["1", "2"]),
            (["--type", "queued", "--type", "failed"], ["1", "2", "5"]),
            (["--job", "a", "--type", "progress"], ["3", "4"]),
            (["--after", "4"], ["5", "6"]),
            (["--after", "6"], []),
            (["--after", "7"], []),
            (["--last", "2"], ["5", "6"]),
            (["--last", "0"], []),
            (["--last", "100"], ["1", "2", "3", "4", "5", "6"]),
            (["--last", "3", "--job", "b"], ["5"]),
        ]

        @Test("--until-head shows the selected events and ends") func selects() async throws {
            try await UserLedger.with { user in
                try await Self.fill(user.ledger)
                for (arguments, positions) in Self.selections {
                    let outcome = try await Program.jobledger.run(
                        ["tail", "--until-head", "--json"] + arguments, environment: user.environment)
                    #expect(outcome.code == 0)
                    #expect(
                        try outcome.jsonLines().compactMap { $0["position"]?.text } == positions,
                        "\(arguments): \(outcome)")
                }
            }
        }

        /// Whether it follows the log or stops at its end.
        @Test("a place of a history that the ledger does not have is refused", arguments: [true, false])
        func otherHistory(untilHead: Bool) async throws {
            try await UserLedger.with { user in
                try await user.ledger.queue("a")
                try await user.ledger.progress("a", 1)
                let digits = try await user.ledger.epochDigits()
                let end = untilHead ? ["--until-head"] : []
                let refused = try await Program.jobledger.run(
                    ["tail", "--after", "2.00000000"] + end, environment: user.environment)
                #expect(refused.code == 1 && refused.output.isEmpty, "\(refused)")
                #expect(refused.errors.contains("start after 0.\(digits)"), "\(refused)")
                let shown = try await user.run("tail", "--until-head", "--after", "1.\(digits)")
                #expect(shown.code == 0 && shown.lines.count == 1, "\(shown)")
            }
        }

        @Test("in a ledger that demands quorum, --until-head shows nothing that the standbys may lack")
        func onlyDurable() async throws {
            try await ReplicatedLedger.with { replicated in
                let ledger = replicated.ledger
                let environment = ["DATABASE_URL": ledger.url, "JOBLEDGER_SCHEMA": ledger.name.text]
                try await ledger.store.demand(.quorum)
                try await ledger.queue("a")
                let unseen = try await replicated.appendUnseen()
                #expect(unseen == 2)
                let arguments = ["tail", "--until-head", "--json"]
                let refused = try await Program.jobledger.run(arguments, environment: environment)
                #expect(refused.code == 3 && refused.output.isEmpty, "\(refused)")
                #expect(refused.errors.contains("no confirmation of the standbys"), "\(refused)")

                try await replicated.waitForStandbys("standby")
                let shown = try await Program.jobledger.run(arguments, environment: environment)
                #expect(shown.code == 0, "\(shown)")
                #expect(try shown.jsonLines().compactMap { $0["position"]?.text } == ["1", "2"], "\(shown)")
            }
        }

        @Test("of an empty log ends at once") func empty() async throws {
            try await UserLedger.with { user in
                let outcome = try await user.run("tail", "--until-head")
                #expect(outcome.code == 0 && outcome.output == "", "\(outcome)")
            }
        }

        enum Feed: CaseIterable { case relayed, silentRedis, deadRedis, none }

        @Test("shows new events once each and in order until Ctrl-C", arguments: Feed.allCases)
        func live(feed: Feed) async throws {
            try await UserLedger.with { user in
                var user = user
                switch feed {
                case .relayed, .silentRedis: break
                case .deadRedis: user.environment["REDIS_URL"] = "redis://127.0.0.1:1"
                case .none: user.environment["REDIS_URL"] = nil
                }
                let relay = feed == .relayed ? try await user.start("relay") : nil
                try await user.ledger.queue("a")
                try await user.running("tail", "--json") { tail in
                    _ = try await tail.lines(1)
                    for number in 1...20 { try await user.ledger.progress("a", number) }
                    _ = try await tail.lines(21)
                    _ = try await user.ledger.store.append(
                        (1...600).map {
                            AppendRequest(job: "job \($0)", events: [NewEvent(type: "queued", data: #"{"name":"x"}"#)])
                        })
                    let lines = try await tail.lines(621)
                    #expect(try lines.map { try JSONValue(parsing: $0)["position"]?.text } == (1...621).map { "\($0)" })
                    tail.signal(SIGINT)
                    let outcome = try await tail.end()
                    #expect(outcome.code == 130)
                    #expect(outcome.lines.count == 621)
                }
                await relay?.kill()
            }
        }
    }

    @Suite("watch") struct WatchTests {
        @Test(
            "ends with the job: 0 when it finished, 1 when it failed",
            arguments: [("finished", "{}", 0), ("failed", #"{"error":"x"}"#, 1)])
        func ends(type: String, data: String, code: Int32) async throws {
            try await UserLedger.with { user in
                try await user.running("watch", "a", "--json") { watch in
                    try await watch.says("job a has no events yet; waiting for it")
                    try await user.ledger.queue("other")
                    try await user.ledger.queue("a", total: 2)
                    try await user.ledger.progress("a", 1)
                    _ = try await watch.lines(2)
                    _ = try await user.ledger.store.append(NewEvent(type: type, data: data), to: "a")
                    let outcome = try await watch.end()
                    #expect(outcome.code == code)
                    let types = try outcome.jsonLines().compactMap { $0["type"]?.text }
                    #expect(types == ["queued", "progress", type].map { "io.jobledger.job.\($0)" })
                }
                #expect(try await user.run("watch", "a").code == code)
            }
        }
    }
}
