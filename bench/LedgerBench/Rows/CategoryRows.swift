import BlockingIO
import LedgerCore
import Postgres

/// Streams of other categories, against jobs and against a table with the same unique indexes.
enum CategoryRows {
    static let batches = "append, users registered, 1,000 a transaction, by the general path"
    static let updates = "append, updates of 100 users, 1,000 a transaction, by the general path"
    static let single = "append_event in SQL, users registered, one event a call, one connection"
    static let claims = "append_event in SQL, registering a user among a million: a claim is one probe"

    static func measure(_ bench: Bench) async throws {
        try await bench.part([batches, updates]) { bench in
            try await bench.withLedger { ledger in
                try await install(on: ledger)
                return try await batches(bench, ledger) + updates(bench, ledger)
            }
        }
        try await bench.part([single, claims]) { bench in
            try await bench.withLedger { ledger in
                try await install(on: ledger)
                return try await single(bench, ledger) + claims(bench, ledger)
            }
        }
    }

    /// A user has an address, which must be unique.
    private static func install(on ledger: BenchLedger) async throws {
        try await ledger.admin.query(
            "SELECT install_category($1::json, 'bench', $2)",
            """
            {"name": "user", "life": {"": ["registered"], "registered": ["updated"], "updated": ["updated"]},
             "unique": [{"key": "email"}]}
            """,
            """
            BEGIN
              RETURN CASE WHEN jsonb_typeof(data -> 'email') <> 'string' THEN '"email" must be a text'
                          WHEN length(data ->> 'email') > 255 THEN '"email" must have at most 255 characters'
                     END;
            END
            """)
    }

    /// Appends `count` batches of 1,000 events.
    /// - Parameters:
    ///   - id: an expression for the id of event `i`.
    ///   - data: one for its data.
    private static func batches(
        _ bench: Bench, _ ledger: BenchLedger, _ category: String, _ type: String, id: String, data: String
    ) async throws -> Contest.Work {
        let bare = try await ledger.bare()
        try await bare.prepare(
            "append \(category) \(type)",
            """
            SELECT (append_batch(array_agg(\(id)), array_agg('\(type)'::text), array_agg(\(data)),
                                 categories => array_agg('\(category)'::text))).first_position
              FROM generate_series($1::bigint * 1000, $1::bigint * 1000 + 999) AS i
            """)
        let count = bench.options.size(40, quick: 3)
        let number = NextNumber()
        return {
            try await Rate.of(count * 1000) {
                for _ in 0..<count {
                    try await bare.execute("append \(category) \(type)", [number.next().postgresBytes()])
                }
            }
        }
    }

    private static func batches(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let jobs = try await batches(
            bench, ledger, "job", "queued", id: "'job-' || i", data: #"'{"name":"job ' || i || '","kind":"server"}'"#)
        let users = try await batches(
            bench, ledger, "user", "registered", id: "'user-' || i",
            data: #"'{"email":"' || i || '@example.com","username":"u"}'"#)
        return try await Contest(
            rounds: bench.options.rounds(7), against: "jobs queued, 1,000 a transaction, by their own path",
            baseline: jobs, candidates: [.init(work: batches, target: .atLeast(0.5), run: users)]
        ).run()
    }

    private static func updates(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        try await ledger.admin.query(
            #"""
            SELECT append_event('user of ' || i, 'registered', '{}', category => 'user'),
                   append_event('job of ' || i, 'queued', '{"name":"n"}')
              FROM generate_series(0, 99) AS i
            """#)
        let jobs = try await batches(
            bench, ledger, "job", "progress", id: "'job of ' || i / 10 % 100",
            data: #"'{"completed":' || i || '}'"#)
        let users = try await batches(
            bench, ledger, "user", "updated", id: "'user of ' || i / 10 % 100", data: #"'{"username":"' || i || '"}'"#)
        return try await Contest(
            rounds: bench.options.rounds(7), against: "progress of 100 jobs, 1,000 a transaction, by its own path",
            baseline: jobs, candidates: [.init(work: updates, target: .atLeast(0.5), run: users)]
        ).run()
    }

    /// One event a call.
    /// - Parameter statement: with the parameters id and data.
    private static func calls(
        _ bench: Bench, _ ledger: BenchLedger, _ name: String, _ statement: String,
        data: @escaping @Sendable (Int64) -> String
    ) async throws -> Contest.Work {
        let bare = try await ledger.bare()
        try await bare.prepare(name, statement)
        let (time, number) = (bench.options.time(.seconds(2)), NextNumber())
        return {
            let start = ContinuousClock.now
            let count = try await bare.repeatedly(name, until: start.advanced(by: time)) { _ in
                let next = number.next()
                return ["\(name)-\(next)".postgresBytes(), data(next).postgresBytes()]
            }
            return Rate(events: count, elapsed: start.duration(to: .now))
        }
    }

    private static func single(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let jobs = try await calls(
            bench, ledger, "job", "SELECT position FROM append_event($1, 'queued', $2::json)",
            data: { #"{"name":"job \#($0)","kind":"server"}"# })
        let users = try await calls(
            bench, ledger, "single",
            "SELECT position FROM append_event($1, 'registered', $2::json, category => 'user')",
            data: { #"{"email":"single-\#($0)@example.com","username":"u"}"# })
        return try await Contest(
            rounds: bench.options.rounds(7), against: "append_event, jobs queued, one connection", baseline: jobs,
            candidates: [.init(work: single, target: .atLeast(0.5), run: users)]
        ).run()
    }

    private static func claims(_ bench: Bench, _ ledger: BenchLedger) async throws -> [BenchRow] {
        let users = bench.options.size(1_000_000, quick: 5000)
        for first in stride(from: 0, to: users, by: 10_000) {
            try await ledger.admin.query(
                """
                SELECT FROM append_batch(
                  ARRAY(SELECT 'known-' || i FROM generate_series($1, $2) AS i),
                  ARRAY(SELECT 'registered' FROM generate_series($1, $2)),
                  ARRAY(SELECT '{"email":"known-' || i || '@example.com"}' FROM generate_series($1, $2) AS i),
                  categories => ARRAY(SELECT 'user' FROM generate_series($1, $2)))
                """, Int64(first), Int64(min(users, first + 10_000) - 1))
        }
        // The same rows in a table with the log's indexes, and that of the addresses.
        try await ledger.makeBareTable("registered")
        try await ledger.admin.execute(
            script: """
                ALTER TABLE registered ADD email text COLLATE "C" UNIQUE;
                INSERT INTO registered (
                  position, event_id, category, stream_id, version, type, data, recorded_at, email)
                SELECT position, event_id, category, stream_id, version, type, data, recorded_at, data ->> 'email'
                  FROM events WHERE category = 'user';
                CREATE SEQUENCE registered_position START 1000000000;
                ANALYZE registered; ANALYZE events; ANALYZE claims
                """)
        let inserts = try await calls(
            bench, ledger, "plain",
            """
            INSERT INTO registered (
              position, event_id, category, stream_id, version, type, data, recorded_at, email)
            VALUES (nextval('registered_position'), gen_random_uuid(), 'user', $1, 1, 'registered', $2::json,
                    clock_timestamp(), $2::json ->> 'email')
            """, data: { #"{"email":"plain-\#($0)@example.com","username":"u"}"# })
        let registering = try await calls(
            bench, ledger, "claim", "SELECT position FROM append_event($1, 'registered', $2::json, category => 'user')",
            data: { #"{"email":"claim-\#($0)@example.com","username":"u"}"# })
        return try await Contest(
            rounds: bench.options.rounds(7),
            against: "one plain INSERT a transaction, prepared, a table with the same unique indexes",
            baseline: inserts,
            candidates: [.init(work: claims, target: .atLeast(0.4), run: registering)]
        ).run()
    }
}

/// 0, 1, 2 …, for whoever asks.
private final class NextNumber: Sendable {
    private let number = Locked<Int64>(0)

    func next() -> Int64 {
        number.withLock { number in
            defer { number += 1 }
            return number
        }
    }
}
