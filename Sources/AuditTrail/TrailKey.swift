import Crypto
import Texts

extension ExactText {
    /// The text as `audit_log` has it in the columns for actor, correlation and cause. An index
    /// entry has a limited size, so a text of more than 300 characters is cut to 200 and gets a
    /// hash.
    ///
    /// It must match `projections/audit_log/prepare.sql`.
    var inTrail: ExactText {
        guard text.unicodeScalars.count > 300 else { return self }
        let hash = SHA256.hash(data: Array(text.utf8)).hexadecimal
        return ExactText(String(String.UnicodeScalarView(text.unicodeScalars.prefix(200))) + "…" + hash)
    }
}
