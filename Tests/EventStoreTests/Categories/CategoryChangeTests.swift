import LedgerTesting
import Postgres
import Testing

/// A category that has events can only become wider.
@Suite struct CategoryChangeTests {
    private let nothing = "BEGIN RETURN null; END"

    private func definition(_ life: String, _ more: String = "") -> String {
        #"{"name": "thing", "life": \#(life), "removes": ["gone"]\#(more)}"#
    }

    private let life = #"{"": ["made"], "made": ["made_again", "gone"], "made_again": ["gone"], "gone": []}"#

    @Test(arguments: [
        (
            #"{"": ["made"], "made": ["gone"], "made_again": ["gone"], "gone": []}"#, "",
            "BEGIN RETURN null; END", 4, "made_again may not follow made"
        ),
        (
            #"{"": ["made_again"], "made": ["made_again", "gone"], "made_again": ["made", "gone"], "gone": []}"#, "",
            "BEGIN RETURN null; END", 1, "made may not be the first"
        ),
        ("", "", "BEGIN IF data ? 'a' THEN RETURN 'no a'; END IF; RETURN null; END", 3, "no a"),
        ("", #", "unique": [{"key": "k"}]"#, "BEGIN RETURN null; END", 3, "was held by another thing"),
        ("", #", "references": [{"key": "k", "category": "thing"}]"#, "BEGIN RETURN null; END", 1, "there is no thing"),
    ])
    func aChangeThatBreaksAnEventIsRefusedNamingIt(
        _ newLife: String, _ more: String, _ check: String, _ position: Int, _ reason: String
    ) async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            #expect(try await TestCategories.install(definition(life), "1", nothing, on: connection))
            #expect(try await !TestCategories.install(definition(life), "1", nothing, on: connection))
            for (stream, type, data) in [
                ("t-1", "made", #"{"k": "1"}"#), ("t-2", "made", #"{"k": "2"}"#),
                ("t-3", "made", #"{"k": "1", "a": 1}"#),
                ("t-1", "made_again", "{}"), ("t-1", "gone", "{}"),
            ] {
                _ = try await TestCategories.append("thing", stream, type, data, on: connection)
            }
            #expect(try await ledger.count() == 5)
            let error = await #expect(throws: PostgresError.self) {
                try await TestCategories.install(
                    definition(newLife.isEmpty ? life : newLife, more), "2", check, on: connection)
            }
            #expect(error?.sqlState?.code == "JL011")
            #expect(error?.description.contains("position \(position) ") == true, "\(String(describing: error))")
            #expect(error?.description.contains(reason) == true, "\(String(describing: error))")
            // Nothing has changed.
            let row = try await connection.query(
                "SELECT hash, (SELECT count(*) FROM category_definitions) FROM categories WHERE name = 'thing'"
            ).only()
            #expect(try row.decode(0, as: String.self) == "1")
            #expect(try row.decode(1, as: Int64.self) == 1)
            #expect(try await TestCategories.append("thing", "t-9", "made", #"{"a": 1}"#, on: connection) == "6")
            await connection.close()
        }
    }

    @Test func aWiderCategoryIsRecordedAndCountsFromThenOn() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await TestCategories.install(definition(life), "1", nothing, on: connection)
            #expect(try await TestCategories.append("thing", "t-1", "made", #"{"k": "1"}"#, on: connection) == "1")
            #expect(try await TestCategories.append("thing", "t-2", "made", #"{"k": "2"}"#, on: connection) == "2")
            #expect(try await TestCategories.append("thing", "t-1", "looked_at", on: connection) == "JL006")
            let wider = """
                {"": ["made"], "made": ["made_again", "looked_at", "gone"], "made_again": ["gone"],
                 "looked_at": [], "gone": []}
                """
            // A claim that the log allows is made for the events that are there.
            #expect(
                try await TestCategories.install(
                    definition(wider, #", "unique": [{"key": "k"}]"#), "2", nothing, on: connection))
            #expect(try await TestCategories.append("thing", "t-1", "looked_at", on: connection) == "3")
            #expect(try await TestCategories.append("thing", "t-3", "made", #"{"k": "1"}"#, on: connection) == "JL008")
            let recorded: [String] = try await connection.query(
                "SELECT hash || ' ' || after FROM category_definitions ORDER BY number"
            ).map { try $0.decode(0) }
            #expect(recorded == ["1 0", "2 2"])
            #expect(try await connection.query("SELECT * FROM claim_differences()").isEmpty)
            await connection.close()
        }
    }

    /// Whether a stream is gone matters to those who refer to it, too.
    @Test func aTypeThatBecomesARemovalIsRefusedWhereOthersReferToTheStream() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let target = #"{"name": "target", "life": {"": ["a"], "a": ["z"], "z": []}"#
            try await TestCategories.install(target + "}", "1", nothing, on: connection)
            let referring =
                #"{"name": "referring", "life": {"": ["a"], "a": ["gone"], "gone": []}, "removes": ["gone"],"#
            let references = #""references": [{"key": "r", "category": "target"}]}"#
            try await TestCategories.install(referring + references, "1", nothing, on: connection)
            for (category, stream, type, data) in [
                ("target", "t", "a", "{}"), ("target", "t", "z", "{}"), ("referring", "f", "a", #"{"r": "t"}"#),
            ] {
                _ = try await TestCategories.append(category, stream, type, data, on: connection)
            }
            // A removal's own references do not matter, neither now nor later.
            #expect(try await TestCategories.append("referring", "f", "gone", #"{"r": "x"}"#, on: connection) == "4")
            #expect(try await TestCategories.install(referring + references, "2", nothing, on: connection))
            let error = await #expect(throws: PostgresError.self) {
                try await TestCategories.install(target + #", "removes": ["z"]}"#, "2", nothing, on: connection)
            }
            #expect(error?.sqlState?.code == "JL011")
            #expect(error?.description.contains("position 3 ") == true, "\(String(describing: error))")
            await connection.close()
        }
    }

    @Test(arguments: [
        #"{"name": "bad", "life": {"": ["a"], "a": ["b"]}}"#,
        #"{"name": "bad", "life": {"": ["a"], "a": ["a"]}, "removes": ["a"]}"#,
        #"{"name": "bad", "life": {"": ["a"], "a": []}, "references": [{"key": "x", "category": "nothing"}]}"#,
        #"{"name": "Bad", "life": {"": ["a"], "a": []}}"#, #"{"life": {"": ["a"], "a": []}}"#,
    ])
    func aDefinitionThatIsNotSoundIsRefused(_ definition: String) async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            let error = await #expect(throws: PostgresError.self) {
                try await TestCategories.install(definition, "1", nothing, on: connection)
            }
            #expect(error?.sqlState?.code == "JL011", "\(String(describing: error))")
            #expect(try await connection.query("SELECT FROM categories").isEmpty)
            await connection.close()
        }
    }

    /// An append that has been checked by the old rules is in the log before the new ones are
    /// compared with it, or is checked by the new ones.
    @Test func noAppendComesPastAChange() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await TestCategories.install(definition(life), "0", nothing, on: connection)
            try await withThrowingTaskGroup(of: Void.self) { group in
                for appender in 0..<4 {
                    group.addTask {
                        let session = try await ledger.connect()
                        for number in 0..<150 {
                            _ = try await TestCategories.append(
                                "thing", "t-\(appender)-\(number)", "made", #"{"a": \#(number)}"#, on: session)
                        }
                        await session.close()
                    }
                }
                // Each allows a greater "a", and forbids what is greater.
                for limit in [40, 80, 120, 200] {
                    let check = """
                        BEGIN
                          IF (data ->> 'a')::integer > \(limit) THEN RETURN 'too large'; END IF;
                          RETURN null;
                        END
                        """
                    do {
                        try await TestCategories.install(definition(life), "\(limit)", check, on: connection)
                    } catch let error as PostgresError where error.sqlState?.code == "JL011" || error.isRetriable {}
                }
                try await group.waitForAll()
            }
            // Whatever is installed now, no event breaks it.
            let breaches = "SELECT FROM first_breach('thing') WHERE at_position IS NOT NULL"
            #expect(try await connection.query(breaches).isEmpty)
            await connection.close()
        }
    }
}
