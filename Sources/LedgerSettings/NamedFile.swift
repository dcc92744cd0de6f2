import LedgerCore

/// A file that a setting names. Messages call it by the setting, for in the place of a path may
/// stand what nobody is to see.
package struct NamedFile: Sendable, Equatable, CustomStringConvertible {
    package let path: String
    /// The setting's name.
    package let setting: String

    package var description: String { "the file that \(setting) names" }

    /// - Throws: ``LedgerSettings/Problem`` where the value is a key itself, as containers are
    ///   often given their secrets.
    init(path: String, setting: String) throws(LedgerSettings.Problem) {
        guard !SecretText.isPrivateKey(path) else {
            throw .init(
                setting,
                "holds a key itself, which it must not: write the key into a file that its owner alone may read, and set the path of it"
            )
        }
        guard !path.utf8.contains(where: { $0 < 0x20 }) else {
            throw .init(setting, "must be the path of a file, and has a line feed or another control character")
        }
        self.path = path
        self.setting = setting
    }
}
