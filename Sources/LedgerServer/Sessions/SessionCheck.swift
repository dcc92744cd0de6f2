import LedgerCore

/// Finds the session of a secret, and caches what the ledger answered, as ``TokenCheck`` does. So a
/// session works for at most ``TokenCheck/validity`` after it was ended, or its token revoked.
struct SessionCheck: Sendable {
    private let store: SessionStore
    private let answers = RecentAnswers<BrowserSession>()

    init(_ store: SessionStore) { self.store = store }

    /// The session with this secret; `nil` if there is none.
    func session(_ secret: SessionSecret) async throws -> BrowserSession? {
        try await answers.value(of: secret.key) { try await store.session(secret) }
    }

    /// The session as the ledger last answered, for when it cannot be asked. See
    /// ``TokenCheck/lastScopes(of:)``.
    func lastSession(_ secret: SessionSecret) -> BrowserSession? {
        answers.last(of: secret.key).flatMap { $0.expiresAt > .now ? $0 : nil }
    }

    /// The session was ended by this process: its next request asks the ledger.
    func forget(_ secret: SessionSecret) { answers.forget(secret.key) }
}
