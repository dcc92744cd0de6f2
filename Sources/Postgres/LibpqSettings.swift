import Glibc
import Texts

extension PostgresConfiguration {
    /// What libpq is given, in its order.
    /// - Parameters:
    ///   - address: the connection string, which was checked.
    ///   - host: the index of the host to connect to, of those that the connection string names;
    ///     `nil` for the first one that will do.
    ///   - isSurvey: whether any server will do, which is only asked who it is.
    func libpqSettings(
        _ address: ConnectionString, host: Int? = nil, isSurvey: Bool = false
    ) -> [(name: String, value: String)] {
        // Later keywords win: those before `dbname` are defaults that the URL may change.
        var settings: [(name: String, value: String)] = [
            ("application_name", applicationName),
            ("connect_timeout", String(connectTimeout)),
            ("keepalives_idle", "10"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
            ("dbname", url.revealed),
            ("client_encoding", "UTF8"),
        ]
        // With several hosts, one accepts writes, and after a switchover it is another. By default
        // libpq keeps to the first host that answers.
        if writes || address.namesSeveralHosts, ConnectionString.defaultTarget == nil {
            settings.insert(("target_session_attrs", "read-write"), at: 0)
        }
        if let host { settings += address.hosts[host] }
        if isSurvey { settings += [("target_session_attrs", "any"), ("connect_timeout", String(connectTimeout))] }
        return settings
    }
}

/// Gives C the names and the values of settings, as null-terminated arrays, for the duration of
/// `body`.
func withCSettings<T>(
    _ settings: [(name: String, value: String)],
    _ body: (_ names: [UnsafePointer<CChar>?], _ values: [UnsafePointer<CChar>?]) -> T
) -> T {
    withCStrings(settings.map(\.name)) { names in withCStrings(settings.map(\.value)) { body(names, $0) } }
}

/// Gives C a null-terminated array of C strings for the duration of `body`.
private func withCStrings<T>(_ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> T) -> T {
    let copies = strings.map { strdup($0) }
    // The copies outlive `body`: they are freed after it has returned.
    defer { for copy in copies { free(copy) } }
    return body(copies.map { UnsafePointer($0) } + [nil])
}
