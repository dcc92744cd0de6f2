import Crypto
import LedgerCore

/// What a request is allowed by: a token, or a session that was opened by one.
struct Credential: Sendable {
    /// Tells credentials apart that end independently of each other.
    enum Key: Hashable, Sendable {
        case token(TokenID)
        case session(SHA256Digest)
    }

    enum Proof: Sendable {
        case token(AccessToken)
        case session(SessionSecret)
    }

    /// The token, also of a session. Limits are by token, so its sessions share them.
    let id: TokenID
    let proof: Proof

    init(_ token: AccessToken) { (id, proof) = (token.id, .token(token)) }

    init(_ session: BrowserSession, _ secret: SessionSecret) { (id, proof) = (session.token, .session(secret)) }

    var key: Key {
        switch proof {
        case .token(let token): .token(token.id)
        case .session(let secret): .session(secret.key)
        }
    }

    var isSession: Bool {
        if case .session = proof { true } else { false }
    }
}

/// Finds out whether a credential still works.
struct CredentialCheck: Sendable {
    let tokens: TokenCheck
    /// `nil` if the service has no sessions.
    let sessions: SessionCheck?

    /// The scopes of a credential; `nil` if it does not work.
    func scopes(of credential: Credential) async throws -> Set<Scope>? {
        switch credential.proof {
        case .token(let token): try await tokens.scopes(of: token)
        case .session(let secret): try await sessions?.session(secret)?.scopes
        }
    }

    /// The scopes as the ledger last answered, for when it cannot be asked.
    func lastScopes(of credential: Credential) -> Set<Scope>? {
        switch credential.proof {
        case .token(let token): tokens.lastScopes(of: token)
        case .session(let secret): sessions?.lastSession(secret)?.scopes
        }
    }

    /// Whether a credential by which a stream was opened still has a scope. While the ledger cannot
    /// be asked, its last answer counts.
    func isStillValid(_ credential: Credential, for scope: Scope) async -> Bool {
        do {
            return try await scopes(of: credential)?.contains(scope) ?? false
        } catch {
            return lastScopes(of: credential)?.contains(scope) ?? false
        }
    }
}
