import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// Many requests in one call: each is atomic, and each gets its own answer.
@Suite struct BatchTests {
    @Test func refusedRequestsFailNoOther() async throws {
        try await TestLedger.with { ledger async throws in
            let queued = #"{"name":"n"}"#
            let answers = try await ledger.store.append([
                AppendRequest(job: "a", events: [NewEvent(type: "queued", data: queued)]),
                AppendRequest(job: "ghost", events: [NewEvent(type: "progress", data: #"{"completed":1}"#)]),
                AppendRequest(job: "a", events: [NewEvent(type: "queued", data: queued)]),
                AppendRequest(job: "b\u{0}", events: [NewEvent(type: "queued", data: queued)]),
                AppendRequest(job: "b", events: [NewEvent(type: "queued", data: #"{"name":""}"#)]),
                AppendRequest(job: "b", events: [NewEvent(type: "queued", data: queued)], expectedVersion: 0),
                AppendRequest(job: "a", events: [NewEvent(type: "finished")], expectedVersion: 4),
                AppendRequest(job: "a", events: [NewEvent(type: "finished")], expectedVersion: 1),
                AppendRequest(job: "a", events: [NewEvent(type: "progress", data: #"{"completed":1}"#)]),
                AppendRequest(job: "c", events: []),
            ])
            let codes = answers.map { answer -> Refusal.Code? in
                if case .failure(let refusal) = answer { refusal.code } else { nil }
            }
            #expect(
                codes == [
                    nil, .unknownJob, .alreadyQueued, .invalidEvent, .invalidEvent, nil, .versionConflict, nil,
                    .alreadyEnded,
                    .invalidEvent,
                ])
            #expect(try [0, 5, 7].map { try answers[$0].get()[0].position } == [1, 2, 3])
            #expect(try await ledger.count() == 3)
        }
    }

    @Test func aRequestOfSeveralEventsIsAllOrNothing() async throws {
        try await TestLedger.with { ledger async throws in
            let good = [
                NewEvent(type: "queued", data: #"{"name":"n","total":2}"#),
                NewEvent(type: "progress", data: #"{"completed":1}"#),
                NewEvent(type: "finished"),
            ]
            var bad = good.map { NewEvent(type: $0.type, data: $0.data) }
            bad[2] = NewEvent(type: "progress", data: #"{"completed":3}"#)
            let answers = try await ledger.store.append([
                AppendRequest(job: "bad", events: bad), AppendRequest(job: "good", events: good),
                // The refused request was undone as a whole: its job is still unknown and its ids
                // are free.
                AppendRequest(job: "bad", events: [bad[0]]),
            ])
            #expect(
                throws: Refusal(
                    .invalidEvent,
                    """
                    event 3 of this request: 3 of 2 runs cannot be completed: send the new \
                    "total" with the progress if there are more
                    """)
            ) {
                try answers[0].get()
            }
            #expect(try answers[1].get().map(\.position) == [1, 2, 3])
            #expect(
                try answers[2].get()[0] == Appended(position: 4, version: 1, eventID: bad[0].id, isDuplicate: false))
            let retried = try await ledger.store.append([AppendRequest(job: "good", events: good, expectedVersion: 0)])[
                0
            ].get()
            #expect(retried.map(\.position) == [1, 2, 3] && retried.allSatisfy(\.isDuplicate))
        }
    }

    @Test func manyRequestsGoInSeveralCallsAndStayInOrder() async throws {
        try await TestLedger.with { ledger async throws in
            var requests = [AppendRequest(job: "a", events: [NewEvent(type: "queued", data: #"{"name":"n"}"#)])]
            requests += (1...4999).map {
                AppendRequest(job: "a", events: [NewEvent(type: "progress", data: #"{"completed":\#($0)}"#)])
            }
            let answers = try await ledger.store.append(requests)
            #expect(try answers.map { try $0.get()[0].position } == Array(1...5000))
        }
    }

    /// Request numbers and nulls that no client of ours would send are refused request by request,
    /// and affect nothing else.
    @Test func oddCallsAreAnsweredEventByEvent() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            func codes(_ jobs: String, _ types: String, _ data: String, _ requests: String) async throws -> [String?] {
                try await connection.query(
                    "SELECT code FROM append(\(jobs), \(types), \(data), requests => \(requests))"
                )
                .map { try $0.decode(0) }
            }
            let (q, p) = (#"'{"name":"n"}'"#, #"'{"completed":1}'"#)
            // A null in the middle of a request refuses it, and leaves the job unknown to later
            // requests.
            let null = try await codes(
                "ARRAY['a', null, 'a']", "ARRAY['queued', 'progress', 'progress']", "ARRAY[\(q), \(p), \(p)]",
                "ARRAY[1, 1, 2]")
            #expect(null == ["invalid_event", "invalid_event", "unknown_job"])
            // So do two jobs in one request.
            let two = try await codes(
                "ARRAY['a', 'b', 'b']", "ARRAY['queued', 'queued', 'queued']", "ARRAY[\(q), \(q), \(q)]",
                "ARRAY[1, 1, 2]")
            #expect(two == ["invalid_event", "invalid_event", nil])
            // Negative numbers are valid request numbers, and a null number makes a request of one
            // event.
            let negative = try await codes(
                "ARRAY['c', 'c', 'd']", "ARRAY['queued', 'progress', 'queued']", "ARRAY[\(q), \(p), \(q)]",
                "ARRAY[-3, -3, null]")
            #expect(negative == [nil, nil, nil])
            let nulls = try await codes(
                "ARRAY[null, 'e', 'f']", "ARRAY['queued', null, 'queued']", "ARRAY[\(q), \(q), null]", "null")
            #expect(nulls == ["invalid_event", "invalid_event", "invalid_event"])
            #expect(try await ledger.store.page(EventQuery()).map(\.job) == ["b", "c", "c", "d"])
            await connection.close()
        }
    }

    @Test func brokenCallsRaiseErrorsAndWriteNothing() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let broken: [(String, String)] = [
                ("SELECT * FROM append(ARRAY['a'], ARRAY['queued', 'queued'], ARRAY['{}'])", "2202E"),
                ("SELECT * FROM append(array_fill('a'::text, ARRAY[10001]), ARRAY['queued'], ARRAY['{}'])", "54000"),
                ("SELECT * FROM append(ARRAY[['a', 'b']], ARRAY['queued', 'queued'], ARRAY['{}', '{}'])", "2202E"),
                ("SELECT * FROM append('[5:5]={a}', ARRAY['queued'], ARRAY['{}'])", "2202E"),
            ]
            for (sql, state) in broken {
                let error = await #expect(throws: PostgresError.self) { try await connection.query(sql) }
                #expect(error?.sqlState?.code == state, "\(sql): \(String(describing: error))")
            }
            try await connection.execute(script: "BEGIN ISOLATION LEVEL REPEATABLE READ")
            let error = await #expect(throws: PostgresError.self) {
                try await connection.query(#"SELECT * FROM append_event('a', 'queued', '{"name":"n"}')"#)
            }
            #expect(error?.sqlState?.code == "25001")
            try await connection.execute(script: "ROLLBACK")
            #expect(try await ledger.count() == 0)
            #expect(try await connection.query("SELECT * FROM append('{}', '{}', '{}')").isEmpty)
            await connection.close()
        }
    }
}
