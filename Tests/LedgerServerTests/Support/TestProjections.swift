import LedgerCore
import LedgerTesting
import Postgres
import Projections
import Testing

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
    /// - Parameter leaving: whether a removed member has no row.
    static func members(_ name: String = "member_rows", leaving: Bool = false) throws -> ProjectionDefinition {
        let removal = "DELETE FROM \(name) WHERE id IN (SELECT stream_id FROM new_events WHERE type = 'removed');"
        return try definition(name, of: "member", key: "stream_id", then: leaving ? removal : "")
    }

    /// A row a plan, by a projection that says that its rows depend on the whole log.
    static func plans() throws -> ProjectionDefinition {
        try definition("plan_rows", of: "plan", types: #"["saved", "revised", "removed"]"#, key: "log")
    }

    /// `batch_jobs` as a folder of one's own may have it.
    /// - Parameter members: of `projection.json`, in place of those that say what a row is.
    static func ownJobs(_ members: String) throws -> ProjectionDefinition {
        let shipped = try #require(try ProjectionDefinition.all().first { $0.name == "batch_jobs" })
        let types = #"["queued", "progress", "truncated", "finished", "failed"]"#
        return try ProjectionDefinition(
            folder: "batch_jobs",
            files: [
                "projection.json":
                    #"{"name": "batch_jobs", "consumes": \#(types), "tables": ["batch_jobs"], \#(members)}"#,
                "schema.sql": shipped.schemaSQL, "apply.sql": shipped.applySQL,
            ])
    }

    private static func definition(
        _ name: String, of category: String, types: String = #"["registered", "updated", "removed"]"#, key: String,
        then: String = ""
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
            \(then)
            """,
        ]
        return try ProjectionDefinition(folder: name, files: files)
    }
}
