import LedgerCore

/// A session as the ledger knows it. It has the scopes of the token that it was opened by, and ends
/// with it.
struct BrowserSession: Sendable {
    let token: TokenID
    /// What the token is called; may be empty.
    let name: String
    let scopes: Set<Scope>
    let expiresAt: Timestamp
}
