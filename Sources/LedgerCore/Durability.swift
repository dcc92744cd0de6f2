/// How safe an event is: each level includes those before it.
///
/// A ledger can demand a level. It then acknowledges, publishes, streams, projects and seals
/// nothing that has not reached it.
public enum Durability: String, Sendable, CaseIterable {
    /// On the disk of the server that has written it. A failover may lose it.
    case local
    /// Also with the standbys that the server is set to wait for: what Postgres's synchronous
    /// replication guarantees. A failover to one of them keeps it.
    case quorum
}

extension Durability: Comparable {
    public static func < (one: Durability, other: Durability) -> Bool { one == .local && other == .quorum }
}
