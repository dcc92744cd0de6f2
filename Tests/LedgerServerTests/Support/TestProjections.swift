import LedgerCore
import LedgerTesting
import Postgres
import Projections

/// Projections of categories that no built-in projection shows: `member` and `plan` are as `user`
/// and `strategy` in `TestCategories`.
enum TestProjections {
    static func installCategories(on connection: PostgresConnection) async throws {
        for definition in [TestCategories.user, TestCategories.strategy] {
            let renamed = definition.replacing("\"user\"", with: "\"member\"").replacing(
                "\"strategy\"", with: "\"plan\"")
            try await TestCategories.install(renamed, "1", "BEGIN RETURN null; END", on: connection)
        }
    }

    /// A row a member, with the last email and the number of events.
    static func members(_ name: String = "member_rows") throws -> ProjectionDefinition {
        try definition(name, of: "member", key: "stream_id")
    }

    /// A row a plan, by a projection that says that its rows depend on the whole log.
    static func plans() throws -> ProjectionDefinition {
        try definition("plan_rows", of: "plan", types: #"["saved", "revised", "removed"]"#, key: "log")
    }

    private static func definition(
        _ name: String, of category: String, types: String = #"["registered", "updated", "removed"]"#, key: String
    ) throws -> ProjectionDefinition {
        let files: [ExactText: String] = [
            "projection.json": """
            {"name": "\(name)", "consumes": {"\(category)": \(types)}, "key": "\(key)", "tables": ["\(name)"],
             "rows": {"\(category)": "\(name)"}}
            """,
            "schema.sql": """
            CREATE TABLE \(name) (
              id     varchar(255) NOT NULL,
              email  text,
              events integer      NOT NULL,
              CONSTRAINT \(name)_pkey PRIMARY KEY (id)
            );
            """,
            "apply.sql": """
            INSERT INTO \(name) AS shown (id, email, events)
            SELECT stream_id,
                   (array_agg(data::jsonb ->> 'email' ORDER BY version DESC) FILTER (WHERE data::jsonb ? 'email'))[1],
                   count(*)
              FROM new_events GROUP BY stream_id
            ON CONFLICT (id) DO UPDATE
              SET email = coalesce(excluded.email, shown.email), events = shown.events + excluded.events;
            """,
        ]
        return try ProjectionDefinition(folder: name, files: files)
    }
}
