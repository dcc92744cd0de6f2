import EventStore
package import LedgerCore

/// Writes the folder of a new projection: a small one that works, ready to be changed.
package struct NewProjection: Sendable {
    private let name: LedgerName

    package init(_ name: LedgerName) { self.name = name }

    /// - Parameter directory: the folder that holds the projections' folders; created if it is
    ///   missing.
    /// - Returns: the paths of the written files.
    package func write(in directory: String) throws -> [String] {
        try NewDefinition(name, files: files).write(in: directory)
    }

    /// One row per job, with the number of its events and the time of the latest.
    var files: [(path: String, text: String)] {
        [
            ("projection.json", manifest), ("schema.sql", schema), ("apply.sql", apply),
            ("README.md", readme), ("cases/first.json", firstCase),
        ]
    }

    private var manifest: String {
        """
        {
          "name": "\(name)",
          "consumes": ["queued", "progress", "truncated", "finished", "failed"],
          "key": "stream_id",
          "tables": ["\(name)"],
          "rows": {"job": "\(name)"}
        }

        """
    }

    private var schema: String {
        """
        -- One row a job.

        CREATE TABLE \(name) (
          job      varchar(255) NOT NULL,
          events   integer      NOT NULL,
          last_at  timestamp    NOT NULL,  -- UTC

          CONSTRAINT \(name)_pkey PRIMARY KEY (job)
        );

        """
    }

    private var apply: String {
        """
        -- Adds new_events, the events since the last fold, to the rows that are there. That may be
        -- one event or a hundred thousand: the rows must come out the same.

        INSERT INTO \(name) AS job (job, events, last_at)
        SELECT stream_id, count(*), max(happened_at) AT TIME ZONE 'UTC'
          FROM new_events
         GROUP BY stream_id
        ON CONFLICT (job) DO UPDATE
           SET events  = job.events + excluded.events,
               last_at = greatest(job.last_at, excluded.last_at);

        """
    }

    private var readme: String {
        """
        # \(name)

        One row a job.

        | column | comes from |
        |---|---|
        | `job` | the stream's id |
        | `events` | how many events the job has |
        | `last_at` | when the latest of them happened, in UTC |

        """
    }

    private var firstCase: String {
        """
        {
          "about": "Events are counted for each job, and the latest time is kept, whatever the order.",
          "events": [
            {
              "job": "a", "type": "queued", "occurred_at": "2026-01-01T10:00:00Z",
              "data": {"name": "first", "total": 2}
            },
            {"job": "b", "type": "queued", "occurred_at": "2026-01-01T10:00:05Z", "data": {"name": "second"}},
            {"job": "a", "type": "progress", "occurred_at": "2026-01-01T10:00:02Z", "data": {"completed": 1}},
            {"job": "a", "type": "finished", "occurred_at": "2026-01-01T10:00:01Z"}
          ],
          "expect": {
            "\(name)": [
              {"job": "a", "events": 3, "last_at": "2026-01-01T10:00:02"},
              {"job": "b", "events": 1, "last_at": "2026-01-01T10:00:05"}
            ]
          }
        }

        """
    }
}
