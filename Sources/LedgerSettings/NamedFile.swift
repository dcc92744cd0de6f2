import LedgerCore

/// A file that a setting names. Messages name the setting and not the path, because somebody may
/// have set a secret in place of the path.
package struct NamedFile: Sendable, Equatable, CustomStringConvertible {
    package let path: String
    /// The setting's name.
    package let setting: String

    package var description: String { "the file that \(setting) names" }

    /// - Throws: ``LedgerSettings/Problem`` if the value is a key and not a path. Containers are
    ///   often given secrets in this way.
    init(path: String, setting: String) throws(LedgerSettings.Problem) {
        guard !SecretText.isPrivateKey(path) else {
            throw .init(
                setting,
                "holds a key and must be a path: write the key to a file that only its owner may read, "
                    + "and set the path of that file")
        }
        guard !path.utf8.contains(where: { $0 < 0x20 }) else {
            throw .init(setting, "must be the path of a file, but has a line feed or another control character")
        }
        self.path = path
        self.setting = setting
    }
}
