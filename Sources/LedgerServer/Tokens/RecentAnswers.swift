import BlockingIO
import Crypto

/// What the ledger answered about secrets, for a short time.
///
/// Most requests need no query, and concurrent look-ups of one secret share one. The ledger's
/// answer is kept by the SHA-256 of the secret, so what somebody made up is never taken for another
/// one's.
struct RecentAnswers<Value: Sendable>: Sendable {
    /// The maximum number of answers. Made-up secrets cannot fill the memory beyond it.
    private static var maxAnswers: Int { 10_000 }

    private struct Answer: Sendable {
        let value: Value?
        let until: ContinuousClock.Instant
    }

    private struct State: Sendable {
        var answers: [SHA256Digest: Answer] = [:]
        var lookups: [SHA256Digest: Task<Value?, any Error>] = [:]
    }

    private let state = Locked(State())

    /// What the ledger answered within ``TokenCheck/validity``, or answers now; `nil` if there is
    /// nothing of this secret.
    func value(
        of secret: SHA256Digest, lookUp: @escaping @Sendable () async throws -> Value?
    ) async throws -> Value? {
        // Digests are compared in constant time.
        if let known = state.withLock({ $0.answers[secret] }), known.until > .now { return known.value }
        let lookup = state.withLock { state in
            if let lookup = state.lookups[secret] { return lookup }
            let task = Task {
                defer { self.state.withLock { $0.lookups[secret] = nil } }
                let value = try await lookUp()
                remember(value, of: secret)
                return value
            }
            state.lookups[secret] = task
            return task
        }
        return try await lookup.value
    }

    /// What the ledger last answered, if that was not longer ago than ``TokenCheck/longestOutage``.
    /// For when the ledger cannot be asked.
    func last(of secret: SHA256Digest) -> Value? {
        guard let known = state.withLock({ $0.answers[secret] }),
            known.until.advanced(by: TokenCheck.longestOutage - TokenCheck.validity) > .now
        else { return nil }
        return known.value
    }

    /// The ledger's next answer is asked for.
    func forget(_ secret: SHA256Digest) { state.withLock { $0.answers[secret] = nil } }

    private func remember(_ value: Value?, of secret: SHA256Digest) {
        state.withLock { state in
            if state.answers.count >= Self.maxAnswers { state.answers.removeAll(keepingCapacity: true) }
            state.answers[secret] = Answer(value: value, until: .now.advanced(by: TokenCheck.validity))
        }
    }
}
