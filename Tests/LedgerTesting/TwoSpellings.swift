package import LedgerCore

/// Two names that a reader, and a Swift string, takes for one: an é of one scalar, and an e with an
/// accent.
package enum TwoSpellings {
    package static let composed: JobID = "jos\u{E9}"
    package static let decomposed: JobID = "jose\u{301}"
    package static let both = [composed, decomposed]
}
