import LedgerCore
import LedgerTesting
import Postgres

/// A random history of users, strategies and backtests, as events and as statements on the plain
/// tables: a second implementation of what projections/backtesting/README.md says.
///
/// Few addresses go round among few users, times go back, and what is gone is still referred to.
struct RandomBacktesting {
    private struct Draft {
        let id: Int
        var values: [String: String] = [:]
    }

    private(set) var categories: [String] = []
    private(set) var streams: [String] = []
    private(set) var types: [String] = []
    private(set) var data: [String] = []
    private(set) var moments: [String] = []
    /// One for each event.
    private(set) var statements: [String] = []
    /// The streams of each category that the ledger has, and not as removed.
    private var present: [String: [String: Draft]] = ["user": [:], "strategy": [:], "backtest": [:]]
    private var counts: [String: Int] = [:]
    private var random: SeededGenerator

    init(events: Int, seed: UInt64) {
        random = SeededGenerator(seed: seed)
        while types.count < events { step() }
    }

    /// Appends the history, which the ledger accepts as a whole.
    func append(on connection: PostgresConnection) async throws {
        let refused = try await connection.query(
            """
            SELECT concat_ws(' ', ordinal, code, message)
              FROM append($1, $2, $3, occurred_ats => $4::text[]::timestamptz[], categories => $5)
             WHERE code IS NOT NULL
            """, streams, types, data, moments, categories
        ).map { try $0.decode(0, as: String.self) }
        guard refused.isEmpty else { throw Refused(description: refused.joined(separator: "\n")) }
    }

    struct Refused: Error, CustomStringConvertible {
        let description: String
    }

    // MARK: Making events

    private mutating func below(_ limit: Int) -> Int { Int(random.below(UInt64(limit))) }
    private mutating func any(_ choices: [String]) -> String? { choices.isEmpty ? nil : choices[below(choices.count)] }
    private func names(_ category: String) -> [String] { present[category]!.keys.sorted() }
    private static func sql(_ value: String?) -> String { value.map { "'\($0)'" } ?? "NULL" }
    private static func json(_ value: String?) -> String { value.map { "\"\($0)\"" } ?? "null" }
    /// A JSON object of members whose values are JSON already.
    private static func object(_ members: [(String, String)]) -> String {
        "{" + members.map { "\"\($0.0)\":\($0.1)" }.joined(separator: ",") + "}"
    }

    /// Adds an event. In the statement `$time` stands for when it happened.
    private mutating func add(
        _ category: String, _ stream: String, _ type: String, _ members: [(String, String)], _ statement: String
    ) {
        let second = below(86_400)
        let moment = "2026-01-01 \(second / 3600):\(second / 60 % 60):\(second % 60)"
        categories.append(category)
        streams.append(stream)
        types.append(type)
        data.append(Self.object(members))
        moments.append(moment + "+00")
        statements.append(statement.replacing("$time", with: "timestamp '\(moment)'"))
    }

    /// Begins a stream. Ids repeat between categories.
    private mutating func begin(_ category: String) -> (stream: String, id: Int) {
        let number = counts[category, default: 0] + 1
        counts[category] = number
        let stream = "stream \(number)"
        present[category]![stream] = Draft(id: number)
        return (stream, number)
    }

    private mutating func remove(_ category: String, from table: String) {
        guard let stream = any(names(category)), let draft = present[category]!.removeValue(forKey: stream) else {
            return
        }
        add(
            category, stream, "removed", below(2) == 0 ? [] : [("reason", "\"r\"")],
            "DELETE FROM \(table) WHERE id = \(draft.id)")
    }

    private mutating func step() {
        switch below(20) {
        case 0, 1: register()
        case 2...6: update()
        case 7: if below(2) == 0 { remove("user", from: "users") }
        case 8, 9: save()
        case 10...12: change()
        case 13: remove("strategy", from: "strategies")
        case 14...18: record()
        default: remove("backtest", from: "backtest_results")
        }
    }

    /// A value that no present user but `stream` has.
    private mutating func free(_ key: String, besides stream: String = "") -> String? {
        let taken = Set(present["user"]!.filter { $0.key != stream }.compactMap { $0.value.values[key] })
        return any((0..<6).map { "\(key)\($0)@x" }.filter { !taken.contains($0) })
    }

    private mutating func profile() -> [(String, String?)] {
        var members: [(String, String?)] = []
        if below(2) == 0 { members.append(("username", any(["one", "two", "three"]))) }
        if below(4) == 0 { members.append(("username", nil)) }
        if below(3) == 0 { members.append(("avatar_url", below(2) == 0 ? nil : "http://x/\(below(3))")) }
        return members.reduce(into: []) { kept, member in
            if !kept.contains(where: { $0.0 == member.0 }) { kept.append(member) }
        }
    }

    private mutating func register() {
        let (email, discord) = (free("email"), free("discord_id"))
        var members: [(String, String?)] = []
        if let email, below(4) > 0 { members.append(("email", email)) }
        if let discord, below(2) == 0 || members.isEmpty { members.append(("discord_id", discord)) }
        guard !members.isEmpty else { return }
        let claims = members
        members += profile()
        let (stream, _) = begin("user")
        for (key, value) in claims { present["user"]![stream]!.values[key] = value }
        add(
            "user", stream, "registered", members.map { ($0.0, Self.json($0.1)) },
            """
            INSERT INTO users (\(members.map(\.0).joined(separator: ", ")), created_at, updated_at)
            VALUES (\(members.map { Self.sql($0.1) }.joined(separator: ", ")), $time, $time)
            """)
    }

    private mutating func update() {
        guard let stream = any(names("user")), let draft = present["user"]![stream] else { return }
        var members = profile()
        for key in ["email", "discord_id"] where below(5) < 3 {
            guard let value = free(key, besides: stream) else { continue }
            members.append((key, value))
            present["user"]![stream]!.values[key] = value
        }
        let set = members.map { "\($0.0) = \(Self.sql($0.1)), " }.joined()
        add(
            "user", stream, "updated", members.map { ($0.0, Self.json($0.1)) },
            "UPDATE users SET \(set)updated_at = greatest(updated_at, $time) WHERE id = \(draft.id)")
    }

    private mutating func description() -> [(String, String?)] {
        below(2) == 0 ? [] : [("description", any(["", "d", "e"]))]
    }

    private mutating func save() {
        guard let user = any(names("user")), let owner = present["user"]![user] else { return }
        let (name, elements) = ("name \(below(4))", any(["[]", "{\"a\":1.50}", "[1,null]"])!)
        let described = below(3) == 0 ? [("description", String?.none)] : description()
        let (stream, _) = begin("strategy")
        let members = [("user_id", Self.json(user)), ("name", Self.json(name)), ("elements", elements)]
        add(
            "strategy", stream, "saved", members + described.map { ($0.0, Self.json($0.1)) },
            """
            INSERT INTO strategies (user_id, name, description, elements, created_at, updated_at)
            VALUES (\(owner.id), '\(name)', \(Self.sql(described.first?.1)), '\(elements)', $time, $time)
            """)
    }

    private mutating func change() {
        guard let stream = any(names("strategy")), let draft = present["strategy"]![stream] else { return }
        let described = below(4) == 0 ? [("description", String?.none)] : description()
        let (type, key, value) =
            below(2) == 0 ? ("renamed", "name", "name \(below(9))") : ("revised", "elements", "[\(below(9))]")
        let member = (key, key == "name" ? Self.json(value) : value)
        let set = described.map { "\($0.0) = \(Self.sql($0.1)), " }.joined()
        add(
            "strategy", stream, type, [member] + described.map { ($0.0, Self.json($0.1)) },
            """
            UPDATE strategies SET \(key) = '\(value)', \(set)updated_at = greatest(updated_at, $time)
             WHERE id = \(draft.id)
            """)
    }

    private mutating func record() {
        let user = below(3) == 0 ? nil : any(names("user"))
        let strategy = below(3) == 0 ? nil : any(names("strategy"))
        let (from, to) = ("20\(10 + below(9))-0\(1 + below(9))-01", "20\(20 + below(9))-12-31")
        var optional: [(String, String)] = []
        for (key, choices) in [
            ("equity_curve", ["null", "[1.0,2]", "{}"]), ("positions", ["null", "[]"]),
            ("benchmark_symbol", ["null", "\"SPY\""]),
        ] where below(3) > 0 { optional.append((key, any(choices)!)) }
        let metrics = "{\"m\":\(below(9)).50}"
        func named(_ key: String, _ stream: String?) -> [(String, String)] {
            stream == nil && optional.isEmpty ? [] : [(key, Self.json(stream))]
        }
        let members =
            named("user_id", user) + named("strategy_id", strategy)
            + [("start_date", "\"\(from)\""), ("end_date", "\"\(to)\""), ("metrics", metrics)] + optional
        let userID = user.flatMap { present["user"]![$0]?.id }.map(String.init) ?? "NULL"
        let strategyID = strategy.flatMap { present["strategy"]![$0]?.id }.map(String.init) ?? "NULL"
        let (stream, _) = begin("backtest")
        let filled = optional.filter { $0.1 != "null" }
        add(
            "backtest", stream, "recorded", members,
            """
            INSERT INTO backtest_results (user_id, strategy_id, start_date, end_date, metrics, created_at
              \(filled.map { ", \($0.0)" }.joined()))
            VALUES (\(userID), (SELECT id FROM strategies WHERE id = \(strategyID)), '\(from)', '\(to)',
              '\(metrics)', $time
              \(filled.map { ", '\($0.1.replacing("\"SPY\"", with: "SPY"))'" }.joined()))
            """)
    }
}
