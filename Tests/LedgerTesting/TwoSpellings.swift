package import LedgerCore

/// Two names that look the same, and are equal as Swift strings, but have different bytes: an é as
/// one scalar, and an e with a combining accent.
package enum TwoSpellings {
    package static let composed: JobID = "jos\u{E9}"
    package static let decomposed: JobID = "jose\u{301}"
    package static let both = [composed, decomposed]
}
