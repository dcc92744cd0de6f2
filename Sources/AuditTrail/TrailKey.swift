import Crypto
import Texts

extension ExactText {
    /// As `audit_log` keeps an actor, a correlation and a cause, and finds them: short ones as they
    /// are, of others the beginning and a hash. An index takes no more. See
    /// `projections/audit_log/apply.sql`.
    var inTrail: ExactText {
        guard text.unicodeScalars.count > 300 else { return self }
        let hash = SHA256.hash(data: Array(text.utf8)).hexadecimal
        return ExactText(String(String.UnicodeScalarView(text.unicodeScalars.prefix(200))) + "…" + hash)
    }
}
