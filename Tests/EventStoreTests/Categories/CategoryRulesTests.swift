import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

/// The rules of a category that is installed, for callers of SQL.
@Suite struct CategoryRulesTests {
    private func withCategories(
        _ body: @Sendable (TestLedger, PostgresConnection) async throws -> Void
    ) async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await TestCategories.install(on: connection)
            try await body(ledger, connection)
            #expect(try await connection.query("SELECT * FROM claim_differences()").isEmpty)
            await connection.close()
        }
    }

    @Test func eachRuleIsRefusedWithItsCodeAndNothingIsWritten() async throws {
        try await withCategories { ledger, connection in
            func append(_ category: String, _ stream: String, _ type: String, _ data: String = "{}") async throws
                -> String
            {
                try await TestCategories.append(category, stream, type, data, on: connection)
            }
            #expect(try await append("user", "u-1", "updated") == "JL001")
            #expect(try await append("user", "u-1", "registered", #"{"email": 5}"#) == "JL006")
            #expect(try await append("user", "u-1", "queued", #"{"name": "n"}"#) == "JL006")
            #expect(try await append("nothing", "u-1", "registered") == "JL006")
            #expect(try await append("user", "", "registered") == "JL006")
            #expect(try await append("user", "u-1", "registered", "[]") == "JL006")
            let long = String(repeating: "x", count: 1021)
            #expect(try await append("user", "u-1", "registered", #"{"email": "\#(long)"}"#) == "JL006")
            #expect(try await append("strategy", "s-1", "saved", #"{"user_id": "u-1"}"#) == "JL009")
            #expect(try await ledger.count() == 0)

            #expect(try await append("user", "u-1", "registered", #"{"email": "Ada@example.com"}"#) == "1")
            #expect(try await append("user", "u-1", "registered", #"{"email": "x"}"#) == "JL002")
            #expect(try await append("user", "u-2", "registered", #"{"email": "aDA@example.com"}"#) == "JL008")
            #expect(try await append("strategy", "s-1", "saved", #"{"user_id": "u-1"}"#) == "2")
            // Another category may have the same id, and a job too.
            #expect(try await append("strategy", "u-1", "saved", #"{"user_id": null}"#) == "3")
            #expect(try await append("job", "u-1", "queued", #"{"name": "n"}"#) == "4")
            #expect(try await append("user", "u-1", "removed") == "5")
            #expect(try await append("user", "u-1", "updated") == "JL003")
            #expect(try await append("strategy", "s-2", "saved", #"{"user_id": "u-1"}"#) == "JL009")
            #expect(try await append("user", "u-2", "registered", #"{"email": "aDA@example.com"}"#) == "6")
            #expect(try await ledger.count() == 6)
            let versions: [Int32] = try await connection.query(
                "SELECT version FROM events WHERE stream_id = 'u-1' ORDER BY position"
            ).map { try $0.decode(0) }
            #expect(versions == [1, 1, 1, 2])
            let types: [String] = try await connection.query("SELECT type::text FROM history('u-1', 'user')").map {
                try $0.decode(0)
            }
            #expect(types == ["registered", "removed"])
        }
    }

    /// Whoever reads events may ask which kinds of them there are, also where the rules are hidden.
    @Test func readersAreToldOfKindsThatThereAreNot() async throws {
        try await withCategories { ledger, connection in
            let name = ledger.name
            try await connection.execute(
                script: "REVOKE SELECT ON categories, category_types FROM \"\(name)_reader\", \"\(name)_subscriber\"")
            for role in ["reader", "subscriber"] {
                try await connection.execute(script: "SET ROLE \"\(name)_\(role)\"")
                func problem(_ name: String, _ types: Set<EventType>? = nil) async throws -> String? {
                    let category = try #require(Category(name))
                    do {
                        try await connection.require(category, types)
                        return nil
                    } catch let error as UnknownKind {
                        return error.description
                    }
                }
                #expect(try await problem("nope") == #"there is no category "nope"; there are job, strategy, user"#)
                let other = try #require(EventType(rawValue: "nope"))
                #expect(
                    try await problem("user", [other])
                        == "'nope' is not an event type of user; use registered, removed, updated")
                let updated = try #require(EventType(rawValue: "updated"))
                for types in [nil, [], [updated]] as [Set<EventType>?] {
                    #expect(try await problem("user", types) == nil, "\(String(describing: types))")
                }
                #expect(try await problem("job", [.queued]) == nil)
                try await connection.execute(script: "RESET ROLE")
            }
        }
    }

    /// Of a key that appears twice one reader takes the first value, and another the last: rules
    /// that saw one of them would not hold for the other. So no way in takes it, alone or in a set.
    @Test func aKeyThatAppearsTwiceIsRefused() async throws {
        try await withCategories { ledger, connection async throws in
            let twice = #"{"email": "a@x.org", "name": "n", "email": "b@x.org"}"#
            let once = #"{"email": "c@x.org"}"#
            #expect(try await TestCategories.append("user", "u-1", "registered", twice, on: connection) == "JL006")
            func batch(_ data: [String]) async throws -> [[String?]] {
                let streams = data.indices.map { "u-\($0)" }
                return try await connection.query(
                    """
                    SELECT code, message FROM append($1, array_fill('registered'::text, ARRAY[cardinality($1)]), $2,
                      categories => array_fill('user'::text, ARRAY[cardinality($1)])) ORDER BY ordinal
                    """, streams, data
                ).map { [try $0.decode(0), try $0.decode(1)] }
            }
            let message = #"data has the key "email" more than once: leave one"#
            #expect(try await batch([twice]) == [["invalid_event", message]])
            #expect(try await batch([twice, twice]) == [["invalid_event", message], ["invalid_event", message]])
            #expect(try await ledger.count() == 0)
            // Escapes spell the same key.
            let escaped = #"{"email": "a@x.org", "\u0065mail": "b@x.org"}"#
            #expect(try await batch([once, escaped]) == [[nil, nil], ["invalid_event", message]])
            #expect(try await ledger.count() == 1)
            // Inside a value rules do not look.
            let inside = #"{"email": "d@x.org", "more": {"a": 1, "a": 2}}"#
            #expect(try await TestCategories.append("user", "u-2", "registered", inside, on: connection) == "2")
            // What jobs may say has not changed.
            #expect(
                try await TestCategories.append("job", "j", "queued", #"{"name": "a", "name": "b"}"#, on: connection)
                    == "3")
        }
    }

    /// Messages name a stream by its category, and not as a job.
    @Test func messagesNameTheKindOfStream() async throws {
        try await withCategories { ledger, connection in
            func message(_ statement: String) async throws -> String {
                let error = await #expect(throws: PostgresError.self) { try await connection.query(statement) }
                return error?.description ?? ""
            }
            let id = "11111111-2222-4333-8444-555555555555"
            func append(_ category: String, _ stream: String, _ type: String, _ data: String = "{}") -> String {
                "SELECT append_event('\(stream)', '\(type)', '\(data)', category => '\(category)', event_id => '\(id)')"
            }
            try await connection.query(append("user", "u-1", "registered"))
            #expect(try await message(append("user", "u-2", "registered")).contains("with other user: "))
            #expect(try await message(append("strategy", "u-1", "saved")).contains("with other category, type: "))
            #expect(
                try await message(append("strategy", "s", "saved")).contains("with other category, stream, type: "))
            let noObject = "SELECT append_event('u-3', 'registered', '[]', category => 'user')"
            #expect(try await message(noObject).contains(#"such as {"name": "value"}, not array"#))
            let messages: [String?] = try await connection.query(
                """
                SELECT message FROM append('{a,b}', '{registered,registered}', '{"{}","{}"}', requests => '{1,1}',
                                           categories => '{user,user}')
                """
            ).map { try $0.decode(0) }
            #expect(messages[0]?.contains("belong to one user: this one is of another") == true, "\(messages)")
        }
    }

    /// A personal value is in no refusal, whichever rule it breaks.
    @Test func personalValuesAreNotQuoted() async throws {
        try await withCategories { ledger, connection in
            try await TestCategories.install(
                """
                {"name": "person", "life": {"": ["met"], "met": []}, "unique": [{"key": "email"}],
                 "references": [{"key": "friend", "category": "user"}, {"key": "boss", "category": "user"}],
                 "personal": ["email", "friend"]}
                """, "1", "BEGIN RETURN null; END", on: connection)
            func message(_ stream: String, _ data: String) async throws -> String? {
                try await connection.query(
                    "SELECT message FROM append(ARRAY[$1], '{met}', ARRAY[$2], categories => '{person}')", stream, data
                ).only().decode(0)
            }
            #expect(try await message("p-1", #"{"email": "secret"}"#) == nil)
            #expect(
                try await message("p-2", #"{"email": "secret"}"#)
                    == #"the value of "email" belongs to another person: it must be unique"#)
            #expect(try await message("p-2", #"{"email": {"secret": 1}}"#) == #""email" must be a text or null"#)
            #expect(
                try await message("p-2", #"{"friend": "secret"}"#)
                    == #"there is no user that "friend" names: append it first"#)
            #expect(
                try await message("p-2", #"{"boss": "b"}"#)
                    == #"there is no user "b", which "boss" names: append it first"#)
            // Nor where the data are not what they should be.
            for (data, says) in [
                (#""secret""#, #"data must be a JSON object such as {"name": "value"}, not string"#),
                (#"[{"email": "secret"}]"#, #"data must be a JSON object such as {"name": "value"}, not array"#),
                (#"{"email": secret}"#, "data is not acceptable JSON"),
            ] { #expect(try await message("p-2", data) == says, "\(data)") }
            for stream in ["secret", "b"] {
                for type in ["registered", "removed"] {
                    _ = try await TestCategories.append("user", stream, type, on: connection)
                }
            }
            #expect(
                try await message("p-2", #"{"friend": "secret"}"#)
                    == #"the user that "friend" names has been removed"#)
            #expect(
                try await message("p-2", #"{"boss": "b"}"#)
                    == #"the user "b", which "boss" names, has been removed"#)
        }
    }

    @Test func aTransitionThatIsNotAllowedNamesWhatIs() async throws {
        try await TestLedger.with { ledger async throws in
            let connection = try await ledger.connect()
            try await TestCategories.install(
                """
                {"name": "deployment", "life": {"": ["requested"], "requested": ["approved"],
                    "approved": ["rolled_out", "rolled_back"], "rolled_out": ["rolled_back"], "rolled_back": []}}
                """, "1", "BEGIN RETURN null; END", on: connection)
            #expect(try await TestCategories.append("deployment", "d", "requested", on: connection) == "1")
            let error = await #expect(throws: PostgresError.self) {
                try await connection.query("SELECT append_event('d', 'rolled_back', category => 'deployment')")
            }
            #expect(error?.sqlState?.code == "JL010")
            #expect(error?.description.contains("approved may") == true, "\(String(describing: error))")
            await connection.close()
        }
    }

    /// A retry is answered with what it wrote first, whatever has happened since.
    @Test func aRetryIsNeverRefused() async throws {
        try await withCategories { ledger, connection in
            func append(_ id: String, _ email: String) async throws -> String {
                let row = try await connection.query(
                    """
                    SELECT position || ' ' || duplicate FROM append_event('u-1', 'registered',
                      json_build_object('email', $2::text), event_id => $1::uuid, category => 'user')
                    """, id, email
                ).only()
                return try row.decode(0)
            }
            let id = "11111111-2222-4333-8444-555555555555"
            #expect(try await append(id, "a") == "1 false")
            #expect(try await TestCategories.append("user", "u-1", "removed", on: connection) == "2")
            #expect(
                try await TestCategories.append("user", "u-2", "registered", #"{"email": "a"}"#, on: connection) == "3")
            #expect(try await append(id, "a") == "1 true")
            let error = await #expect(throws: PostgresError.self) { try await append(id, "b") }
            #expect(error?.sqlState?.code == "JL005")
            // The id of a job's event is not free for a user's.
            let other = "11111111-2222-4333-8444-666666666666"
            try await connection.query(
                "SELECT append_event('u-1', 'queued', json_build_object('name', 'n'), event_id => $1::uuid)", other)
            let conflict = await #expect(throws: PostgresError.self) { try await append(other, "b") }
            #expect(conflict?.description.contains("category") == true)
            #expect(try await ledger.count() == 4)
        }
    }

    /// A claim moves with the stream's latest value, and null gives it up.
    @Test func aClaimIsReplacedAndReleased() async throws {
        try await withCategories { _, connection in
            func user(_ id: String, _ type: String, _ data: String) async throws -> String {
                try await TestCategories.append("user", id, type, data, on: connection)
            }
            #expect(try await user("u-1", "registered", #"{"email": "a", "discord_id": "1"}"#) == "1")
            #expect(try await user("u-1", "updated", #"{"email": "b"}"#) == "2")
            #expect(try await user("u-2", "registered", #"{"email": "a"}"#) == "3")
            #expect(try await user("u-3", "registered", #"{"email": "c", "discord_id": "1"}"#) == "JL008")
            #expect(try await user("u-1", "updated", #"{"email": "B"}"#) == "4")
            #expect(try await user("u-1", "updated", #"{"email": null}"#) == "5")
            #expect(try await user("u-3", "registered", #"{"email": "b"}"#) == "6")
            let holder: String? = try await connection.query("SELECT holder_of('user', 'email', 'B')").only().decode(0)
            #expect(holder == "u-3")
        }
    }

    @Test func claimsAndRulesCannotBeChangedPastTheLog() async throws {
        try await withCategories { _, connection in
            _ = try await TestCategories.append("user", "u-1", "registered", #"{"email": "a"}"#, on: connection)
            for statement in [
                "UPDATE claims SET value = 'b'", "DELETE FROM claims", "TRUNCATE claims",
                "INSERT INTO claims VALUES ('user', 'email', 'x', 'u-1')", "DELETE FROM category_definitions",
                "DELETE FROM categories", "UPDATE category_types SET removes = false", "TRUNCATE category_references",
                "DELETE FROM category_unique", "DELETE FROM category_life",
            ] {
                let error = await #expect(throws: PostgresError.self) { try await connection.query(statement) }
                #expect(error?.sqlState?.code == "23001", "\(statement): \(String(describing: error))")
            }
        }
    }

    /// The path of a call is chosen by the categories of its events, not by what else stands there.
    @Test func moreCategoriesThanEventsChangeNothing() async throws {
        try await withCategories { ledger, connection in
            func append(_ data: String, _ categories: [String?]) async throws -> String? {
                try await connection.query(
                    "SELECT code FROM append('{j}', '{queued}', ARRAY[$1], categories => $2)", data, categories
                ).only().decode(0)
            }
            #expect(try await append(#"{"total": 7}"#, ["job", "user"]) == "invalid_event")
            #expect(try await append(#"{"name": "n", "total": 7}"#, [nil, "user"]) == nil)
            let total: Int32 = try await connection.query("SELECT total FROM events").only().decode(0)
            #expect(total == 7)
        }
    }

    /// A value that is too long for an index, or no text, is refused in a batch as it is alone.
    @Test(arguments: [#""\#(String(repeating: "x", count: 1021))""#, "[1e300]", "7", #"{"a": 1}"#])
    func whatCannotBeComparedIsRefused(_ value: String) async throws {
        try await withCategories { ledger, connection in
            let data = #"{"discord_id": \#(value)}"#
            #expect(try await TestCategories.append("user", "u-1", "registered", data, on: connection) == "JL006")
            let codes: [String?] = try await connection.query(
                """
                SELECT code FROM append('{u-1,u-2}', '{registered,registered}', ARRAY[$1, '{}'],
                    categories => '{user,user}') ORDER BY ordinal
                """, data
            ).map { try $0.decode(0) }
            #expect(codes == ["invalid_event", nil])
        }
    }

    /// Each value that a call has taken and gives up makes the next slower, while all others wait.
    @Test func aCallChangesClaimsOfOneStreamAThousandTimesAtMost() async throws {
        try await withCategories { ledger, connection in
            _ = try await TestCategories.append("user", "u-1", "registered", on: connection)
            let append = """
                SELECT count(*) FROM append(
                  array_fill('u-1'::text, ARRAY[$1]), array_fill('updated'::text, ARRAY[$1]),
                  ARRAY(SELECT json_build_object('email', i)::text FROM (
                    SELECT i::text FROM generate_series(1, $1) AS i) AS e (i)),
                  categories => array_fill('user'::text, ARRAY[$1]))
                """
            let error = await #expect(throws: PostgresError.self) { try await connection.query(append, Int32(1200)) }
            #expect(error?.sqlState?.code == "54000", "\(String(describing: error))")
            #expect(try await ledger.count() == 1)
            let count: Int64 = try await connection.query(append, Int32(900)).only().decode(0)
            #expect(count == 900)
        }
    }
}
