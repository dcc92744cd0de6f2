import LedgerCore

/// The level of durability that a caller waits for, and for how long: the parameters `durability`
/// and `within` of a request that appends.
struct DurabilityWish: Sendable {
    let level: Durability
    let limit: Duration

    private static let seconds: ClosedRange<Int64> = 1...60

    init(_ query: Query) throws(Problem) {
        try query.allow("durability", "within")
        level =
            try query.choice("durability", Durability.allCases.map(\.rawValue)).flatMap {
                Durability(rawValue: $0)
            } ?? .local
        limit = .seconds(try query.integer("within", Self.seconds) ?? 10)
    }
}
