/// Finds the scopes of a token, and caches what the ledger answered.
///
/// An answer is valid for ``validity``, so a revoked token works for at most that long.
struct TokenCheck: Sendable {
    /// How long an answer is valid.
    static let validity = Duration.seconds(2)
    /// For how long after its last answer a token keeps its streams, and may read the metrics,
    /// while the ledger cannot be asked. One that is revoked in this time reads no new event: there
    /// is nothing to read from.
    static let longestOutage = Duration.seconds(15 * 60)

    private let store: TokenStore
    private let answers = RecentAnswers<Set<Scope>>()

    init(_ store: TokenStore) { self.store = store }

    /// The scopes of a token; `nil` if it is not valid.
    func scopes(of token: AccessToken) async throws -> Set<Scope>? {
        try await answers.value(of: token.hash) { try await store.scopes(of: token) }
    }

    /// The scopes of a token as the ledger last answered, if that was not longer ago than
    /// ``longestOutage``. For when the ledger cannot be asked.
    func lastScopes(of token: AccessToken) -> Set<Scope>? { answers.last(of: token.hash) }
}
