import LedgerCore

/// Two names that a reader, and a Swift string, takes for one: an é of one scalar, and an e with an
/// accent.
public enum TwoSpellings {
    public static let composed: JobID = "jos\u{E9}"
    public static let decomposed: JobID = "jose\u{301}"
    public static let both = [composed, decomposed]
}
