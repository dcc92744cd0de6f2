import BlockingIO
import Crypto
import LedgerCore

/// Says what a token may be used for, from what the ledger said of it a moment ago.
///
/// Most requests cost no lookup to Postgres: an answer holds for ``validity``, which is also how
/// long a revoked token goes on working at most. Concurrent lookups about one token are one.
struct TokenCheck: Sendable {
    /// How long an answer holds.
    static let validity = Duration.seconds(2)
    /// The most answers that are remembered: whoever sends made-up tokens fills it no further.
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

    /// `nil` where the token is no good.
    func scopes(of token: AccessToken) async throws -> Set<Scope>? {
        let hash = token.hash
        let known = state.withLock { $0.answers[token.id] }
        // Digests are compared in constant time.
        if let known, known.until > .now, known.hash == hash { return known.scopes }
        let lookup = state.withLock { state in
            // Another secret of the same id is another lookup.
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

    private func remember(_ scopes: Set<Scope>?, of id: TokenID, _ hash: SHA256Digest) {
        state.withLock { state in
            // A wrong secret does not push the right one out.
            if scopes == nil, let known = state.answers[id], known.hash != hash, known.scopes != nil, known.until > .now
            {
                return
            }
            if state.answers.count >= Self.maxAnswers { state.answers.removeAll(keepingCapacity: true) }
            state.answers[id] = Answer(hash: hash, scopes: scopes, until: .now.advanced(by: Self.validity))
        }
    }
}
