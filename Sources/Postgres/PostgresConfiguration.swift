public import Texts

/// Where a database is and how long to wait for it.
public struct PostgresConfiguration: Sendable {
    /// A connection string as libpq understands it: `postgresql://user:password@host1:5432,host2:5432/name?sslmode=verify-full`
    /// or `host=… dbname=…`. Several hosts, `sslmode`, `target_session_attrs`, service and password files all work.
    public var url: SecretText
    /// Shown in `pg_stat_activity`.
    public var applicationName: String
    /// Run-time settings of every session, such as `search_path`.
    public var sessionSettings: [(name: String, value: String)]
    /// Statements that begin every session, before its settings: for what depends on how the server, the database or the role is set.
    public var sessionStatements: [String] = []
    /// What the database must be; `nil` takes any.
    public var requirement: PostgresRequirement?
    /// Seconds to wait for each host of the connection string.
    public var connectTimeout: Int
    /// How long a statement may run without a byte from the server before it is cancelled.
    public var silence: Duration

    public init(
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
