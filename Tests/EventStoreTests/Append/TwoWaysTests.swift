import Foundation
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// A plain batch is written as a set, any other event by event, and a batch that may have other
/// categories by general rules. All ways give the same answers and the same log.
@Suite struct TwoWaysTests {
    private enum Way: String, CaseIterable { case set, oneEach, general }

    @Test(arguments: Way.allCases) private func bothWaysGiveTheSameAnswersAndTheSameLog(_ way: Way) async throws {
        let seed = UInt64.random(in: 0...UInt64.max)
        print("two ways, \(way): seed \(seed)")
        var random = SeededGenerator(seed: seed)
        try await TestLedger.with { inSets async throws in
            try await TestLedger.with { oneByOne async throws in
                let (a, b) = (try await inSets.connect(), try await oneByOne.connect())
                var pool: [RandomEvent] = []
                for round in 0..<400 {
                    let batch = RandomBatch(round, isOneEach: way == .oneEach, &pool, &random)
                    let inSets =
                        switch way {
                        case .set: try await batch.appendAsSet(on: a)
                        case .oneEach: try await batch.appendOneEach(on: a, &random)
                        case .general: try await batch.appendToStreams(on: a)
                        }
                    let oneByOne = try await batch.appendEventByEvent(on: b)
                    guard inSets == oneByOne else {
                        Issue.record(
                            "seed \(seed), round \(round): \(batch)\nin sets: \(inSets)\none by one: \(oneByOne)")
                        return
                    }
                }
                #expect(try await Self.log(on: a) == Self.log(on: b))
                // The batches are such that both ways are taken.
                #expect(try await inSets.count() > 500)
                await a.close()
                await b.close()
            }
        }
    }

    /// A plain batch never calls append_batch(), which does not exist here.
    @Test func plainBatchesDoNotCallAppendBatch() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await connection.execute(script: "ALTER FUNCTION append_batch RENAME TO append_batch_elsewhere")
            func append(_ types: [String], _ data: [String], known: [Int32?]?, metadata: [String?]? = nil) async throws
                -> [Int32]
            {
                try await connection.query(
                    "SELECT (append_to_distinct_jobs($1, $2, $3, $4, null, $5, null, $6)).versions",
                    types.indices.map { "job-\($0)" },
                    types, data,
                    metadata, types.map { _ in UUID() }, known
                ).only().decode(0)
            }
            let queued = Array(repeating: "queued", count: 3)
            let named = Array(repeating: #"{"name":"n","total":9}"#, count: 3)
            #expect(try await append(queued, named, known: nil) == [1, 1, 1])
            for version: Int32 in 2...40 {
                let data = Array(repeating: #"{"completed":\#(version % 9)}"#, count: 3)
                // A near hint, an exact one, and none.
                let known: [Int32?] = [version - 1, max(1, version - 7), nil]
                let versions = try await append(
                    Array(repeating: "progress", count: 3), data, known: known,
                    metadata: [nil, "{}", #"{"actor":"ada"}"#])
                #expect(versions == [version, version, version])
            }
            #expect(
                try await append(
                    ["finished", "progress", "failed"], ["{}", #"{"completed":1}"#, #"{"error":"e"}"#],
                    known: [40, 40, 40]) == [
                        41, 41, 41,
                    ])
            // A hint beyond the job's version hides its events; then append_batch() decides.
            let error = await #expect(throws: PostgresError.self) {
                try await append(["progress"], [#"{"completed":1}"#], known: [99])
            }
            #expect(error?.sqlState == .undefinedFunction)
            #expect(try await ledger.count() == 3 + 39 * 3 + 3)
            await connection.close()
        }
    }

    private static func log(on connection: PostgresConnection) async throws -> [String] {
        try await connection.query(
            """
            SELECT concat_ws('|', position, event_id, stream_id, version, type, data, metadata, occurred_at,
                total, completed)
              FROM events ORDER BY position
            """
        ).map { try $0.decode(0) }
    }
}

private struct RandomEvent {
    var job: String?
    var type: String?
    var data: String?
    var metadata: String?
    var expectedVersion: Int32?
    var id = UUID()
    var occurredAt: PostgresTimestamp?

    init(_ round: Int, _ random: inout SeededGenerator) {
        func one<T>(_ choices: [T], _ random: inout SeededGenerator) -> T {
            choices[Int(random.below(UInt64(choices.count)))]
        }
        // Odd events are rare, so that many batches are plain.
        let isOdd = random.below(60) == 0
        // Jobs start and end, so that there are always some of both.
        job = "job-\(round / 20)-\(random.below(6))"
        if isOdd, random.below(4) == 0 { job = one([nil, "", "a\nb", String(repeating: "j", count: 256)], &random) }
        switch random.below(12) {
        case 0...2:
            type = "queued"
            data = one(
                [
                    #"{"name":"n"}"#, #"{"name":"n","total":5}"#, #"{"name":"n","variables":[{"name":"v","count":4}]}"#,
                    #"{"name":"n","kind":"local","strategy":{"a":[1,2]}}"#,
                ], &random)
        case 3: (type, data) = ("truncated", #"{"reason":"r","limit":3}"#)
        case 4: (type, data) = one([("finished", "{}"), ("failed", #"{"error":"e"}"#)], &random)
        default:
            type = "progress"
            let completed = random.below(7)
            data = one(
                [
                    #"{"completed":\#(completed)}"#, #"{"completed":\#(completed),"message":"m"}"#,
                    #"{"completed":\#(completed),"total":\#(random.below(9))}"#,
                    #"{"completed":\#(completed),"runs":[{"run_index":0,"metrics":{"sharpe":1.5}}]}"#,
                ], &random)
        }
        if isOdd, random.below(2) == 0 {
            data = one(
                [
                    nil, "", "{", "[]", "null", #"{"completed":"1"}"#, #"{"completed":1.0}"#, #"{"completed":1.5}"#,
                    #"{"completed":-1}"#,
                    #"{"completed":1e400}"#, #"{"completed":1,"x":1e-400}"#, #"{"completed":99999999999}"#,
                    #"{"completed":1,"message":2}"#,
                    #"{"completed":1,"message":null}"#, #"{"completed":1,"message":"\u0000"}"#,
                    #"{"completed":1,"message":"\ud800"}"#,
                    #"{"completed":null}"#, #"{"completed":1,"runs":[{}]}"#, #"{"completed":1,"runs":null}"#,
                    #"{"name":""}"#,
                    #"{"completed":1,"x":"# + String(repeating: "[", count: 140) + String(repeating: "]", count: 140)
                        + "}",
                    #"{"completed":1,"completed":2}"#,
                ], &random)
        }
        if isOdd, random.below(4) == 0 { type = one([nil, "", "Queued", "paused"], &random) }
        metadata = one([nil, "{}", #"{"actor":"ada"}"#, #"{"actor":"ada","traceparent":"00-1","n":{"a":1}}"#], &random)
        if isOdd, random.below(3) == 0 {
            metadata = one(
                ["", "[]", #"{"actor":1}"#, #"{"actor":null}"#, #"{"x":1e400}"#, #"{"a":"\u0000"}"#], &random)
        }
        if random.below(8) == 0 { expectedVersion = Int32(random.below(5)) - (isOdd ? 1 : 0) }
        if random.below(6) == 0 { occurredAt = PostgresTimestamp(microseconds: Int64(random.below(1_000_000_000))) }
        if isOdd, random.below(5) == 0 { occurredAt = PostgresTimestamp(microseconds: .max) }
    }
}

private struct RandomBatch: CustomStringConvertible {
    var events: [RandomEvent] = []
    var requests: [Int32?]?

    init(_ round: Int, isOneEach: Bool, _ pool: inout [RandomEvent], _ random: inout SeededGenerator) {
        for index in 0..<[1, 1, 2, 5, 30][Int(random.below(5))] {
            var event = RandomEvent(round, &random)
            if !pool.isEmpty, random.below(40) == 0 {
                // A retry, or an id that was used for another event.
                let earlier = pool[Int(random.below(UInt64(pool.count)))]
                if random.below(3) == 0 { event.id = earlier.id } else { event = earlier }
            }
            if isOneEach, event.job?.hasPrefix("job-") == true, random.below(30) > 0 {
                event.job = "job-\(round / 20)-\(index)"
            }
            pool.append(event)
            events.append(event)
        }
        if !isOneEach, random.below(3) == 0 {
            var number: Int32 = 0
            requests = events.map { _ in
                if random.below(2) == 0 { number += 1 }
                return random.below(8) == 0 ? nil : number
            }
            // Events of one request mostly belong to one job.
            for index in events.indices.dropFirst()
            where requests![index] == requests![index - 1] && random.below(10) > 0 {
                events[index].job = events[index - 1].job
            }
        }
    }

    var description: String {
        zip(events, requests ?? events.map { _ in nil }).map { "\n  \($0) request \($1.map(String.init) ?? "-")" }
            .joined()
    }

    private static let answer = "concat_ws('|', ordinal, position, version, event_id, duplicate, code, message)"
    /// The answers of a `batch_answer`, in either of its forms.
    private static let answers = """
        SELECT ordinal, \(answer) AS answer FROM unnest(batch.answers)
         UNION ALL
        SELECT ordinal, concat_ws('|', ordinal, batch.first_position + ordinal - 1, version, id, false)
          FROM unnest(batch.versions, batch.event_ids) WITH ORDINALITY AS e (version, id, ordinal)
         WHERE batch.answers IS NULL
        """

    func appendAsSet(on connection: PostgresConnection) async throws -> [String] {
        try await connection.query(
            "SELECT \(Self.answer) FROM append($1, $2, $3, $4, $5, $6, $7, $8) ORDER BY ordinal",
            events.map(\.job), events.map(\.type), events.map(\.data), events.map(\.metadata),
            events.map(\.expectedVersion),
            events.map(\.id), events.map(\.occurredAt), requests
        ).map { try $0.decode(0) }
    }

    /// With hints that are mostly the jobs' versions, and sometimes any number.
    func appendOneEach(on connection: PostgresConnection, _ random: inout SeededGenerator) async throws -> [String] {
        let heads = try await connection.query(
            """
            SELECT (SELECT max(version) FROM events WHERE stream_id = job)
              FROM unnest($1::text[]) WITH ORDINALITY AS e (job, ordinal) ORDER BY ordinal
            """,
            events.map(\.job)
        ).map { try $0.decode(0, as: Int32?.self) }
        let known = heads.map { head in
            switch random.below(10) {
            case 0: Int32?.none
            case 1: Int32(random.below(20)) - 2
            default: head.map { max(1, $0 - Int32(random.below(3))) }
            }
        }
        return try await connection.query(
            """
            SELECT e.answer FROM append_to_distinct_jobs($1, $2, $3, $4, $5, $6, $7, $8) AS batch, LATERAL (
              \(Self.answers)) AS e
             ORDER BY e.ordinal
            """,
            events.map(\.job), events.map(\.type), events.map(\.data), events.map(\.metadata),
            events.map(\.expectedVersion),
            events.map(\.id), events.map(\.occurredAt), known
        ).map { try $0.decode(0) }
    }

    /// Does what append() does with a batch in which other categories occur.
    func appendToStreams(on connection: PostgresConnection) async throws -> [String] {
        try await connection.transaction { connection in
            try await connection.query("SELECT set_config('jobledger.appending', 'on', true)")
            let answers: [String] = try await connection.query(
                """
                SELECT e.answer
                  FROM append_to_streams($1, $2, $3, $4, $5, $6, $7, $8, $9, null, null) AS batch,
                       LATERAL (\(Self.answers)) AS e
                 ORDER BY e.ordinal
                """,
                events.map { _ in "job" }, events.map(\.job), events.map(\.type), events.map(\.data),
                events.map(\.metadata), events.map(\.expectedVersion), events.map(\.id), events.map(\.occurredAt),
                requests
            ).map { try $0.decode(0) }
            try await connection.query("SELECT set_config('jobledger.appending', 'off', true)")
            return answers
        }
    }

    /// Does what append() does with a batch that is not plain.
    func appendEventByEvent(on connection: PostgresConnection) async throws -> [String] {
        try await connection.transaction { connection in
            let findings = try await connection.query(
                """
                SELECT finding.code, finding.message, finding.total, finding.completed
                  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], $6::integer[])
                         WITH ORDINALITY AS e (job, type, data, metadata, occurred_at, expected_version, ordinal),
                       LATERAL check_event(e.job, e.type, coalesce(e.data, 'null'),
                           coalesce(e.metadata, '{}'), e.occurred_at,
                                           e.expected_version) AS finding
                 ORDER BY e.ordinal
                """, events.map(\.job), events.map(\.type), events.map(\.data), events.map(\.metadata),
                events.map(\.occurredAt),
                events.map(\.expectedVersion))
            // As append_batch() does for the duration of its call.
            try await connection.query("SELECT lock_log(), set_config('jobledger.appending', 'on', true)")
            let answers: [String] = try await connection.query(
                """
                SELECT \(Self.answer) FROM append_one_by_one($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
                 ORDER BY ordinal
                """, events.map(\.job), events.map(\.type), events.map(\.data), events.map(\.metadata),
                events.map(\.expectedVersion),
                events.map(\.id), events.map(\.occurredAt), requests,
                try findings.map { try $0.decode("code", as: String?.self) },
                try findings.map { try $0.decode("message", as: String?.self) },
                try findings.map { try $0.decode("total", as: Int32?.self) },
                try findings.map { try $0.decode("completed", as: Int32?.self) }
            ).map { try $0.decode(0) }
            try await connection.query("SELECT set_config('jobledger.appending', 'off', true)")
            return answers
        }
    }
}
