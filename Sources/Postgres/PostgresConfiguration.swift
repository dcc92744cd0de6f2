package import Texts

/// Where a database is and how long to wait for it.
package struct PostgresConfiguration: Sendable {
    /// A connection string as libpq understands it:
    /// `postgresql://user:password@host1:5432,host2:5432/name?sslmode=verify-full` or
    /// `host=… dbname=…`. Several hosts, `sslmode`, `target_session_attrs`, service and password
    /// files all work.
    package var url: SecretText
    /// Shown in `pg_stat_activity`.
    package var applicationName: String
    /// Run-time settings of every session, such as `search_path`.
    package var sessionSettings: [(name: String, value: String)]
    /// Statements that run at the start of every session, before its settings: for actions that
    /// depend on the settings of the server, the database or the role.
    package var sessionStatements: [String] = []
    /// The requirements for the database; `nil` accepts any.
    package var requirement: PostgresRequirement?
    /// Whether only a server that accepts writes will do, unless the connection string has another
    /// `target_session_attrs`. With several hosts that is so in any case.
    package var writes = false
    /// What the sessions of this process know of the server together; `nil` for sessions that go on
    /// with any. Needs a ``requirement``.
    package var leading: LeadingServer?
    /// Seconds to wait for each host of the connection string.
    package var connectTimeout: Int
    /// How long a statement may run without a byte from the server before it is cancelled.
    package var silence: Duration

    package init(
        url: String, applicationName: String = "jobledger", sessionSettings: [(name: String, value: String)] = [],
        connectTimeout: Int = 5, silence: Duration = .seconds(600)
    ) {
        self.url = SecretText(url)
        self.applicationName = applicationName
        self.sessionSettings = sessionSettings
        self.connectTimeout = connectTimeout
        self.silence = silence
    }
}
