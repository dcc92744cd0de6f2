import BlockingIO
import Crypto
import LedgerCore

/// Finds the scopes of a token, and caches what the ledger answered.
///
/// Most requests need no query: an answer is valid for ``validity``, so a revoked token works for
/// at most that long. Concurrent look-ups of one token share one query.
struct TokenCheck: Sendable {
    /// How long an answer is valid.
    static let validity = Duration.seconds(2)
    /// For how long after its last answer a token keeps its streams, and may read the metrics,
    /// while the ledger cannot be asked. One that is revoked in this time reads no new event: there
    /// is nothing to read from.
    static let longestOutage = Duration.seconds(15 * 60)
    /// The maximum number of cached answers. Made-up tokens cannot fill the cache beyond it.
    private static let maxAnswers = 10_000

    private struct Answer: Sendable {
        let hash: SHA256Digest
        let scopes: Set<Scope>?
        let until: ContinuousClock.Instant
    }

    private struct State: Sendable {
        var answers: [TokenID: Answer] = [:]
        var lookups: [TokenID: (hash: SHA256Digest, task: Task<Set<Scope>?, any Error>)] = [:]
    }

    private let store: TokenStore
    private let state = Locked(State())

    init(_ store: TokenStore) { self.store = store }

    /// The scopes of a token; `nil` if it is not valid.
    func scopes(of token: AccessToken) async throws -> Set<Scope>? {
        let hash = token.hash
        let known = state.withLock { $0.answers[token.id] }
        // Digests are compared in constant time.
        if let known, known.until > .now, known.hash == hash { return known.scopes }
        let lookup = state.withLock { state in
            // The same id with another secret needs a look-up of its own.
            if let lookup = state.lookups[token.id], lookup.hash == hash { return lookup.task }
            let task = Task {
                let scopes = try await store.scopes(of: token)
                remember(scopes, of: token.id, hash)
                return scopes
            }
            state.lookups[token.id] = (hash, task)
            return task
        }
        defer { state.withLock { _ = $0.lookups.removeValue(forKey: token.id) } }
        return try await lookup.value
    }

    /// The scopes of a token as the ledger last answered, if that was not longer ago than
    /// ``longestOutage``. For when the ledger cannot be asked.
    func lastScopes(of token: AccessToken) -> Set<Scope>? {
        guard let known = state.withLock({ $0.answers[token.id] }), known.hash == token.hash,
            known.until.advanced(by: Self.longestOutage - Self.validity) > .now
        else { return nil }
        return known.scopes
    }

    /// Whether a token by which a stream was opened still has a scope. While the ledger cannot be
    /// asked, its last answer counts.
    func isStillValid(_ token: AccessToken, for scope: Scope) async -> Bool {
        do {
            return try await scopes(of: token)?.contains(scope) ?? false
        } catch {
            return lastScopes(of: token)?.contains(scope) ?? false
        }
    }

    private func remember(_ scopes: Set<Scope>?, of id: TokenID, _ hash: SHA256Digest) {
        state.withLock { state in
            // A wrong secret must not replace the answer for the right one.
            if scopes == nil, let known = state.answers[id], known.hash != hash, known.scopes != nil, known.until > .now
            {
                return
            }
            if state.answers.count >= Self.maxAnswers { state.answers.removeAll(keepingCapacity: true) }
            state.answers[id] = Answer(hash: hash, scopes: scopes, until: .now.advanced(by: Self.validity))
        }
    }
}
