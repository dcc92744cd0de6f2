import Foundation
package import LedgerCore
import PrivateFiles
package import TransparencyLog

/// Keys in files: the private key of a sealer, which only its owner may read, and the public keys
/// of those who check.
package enum KeyFile {
    package struct Failure: Error, Sendable, CustomStringConvertible {
        package let description: String
        package init(_ description: String) { self.description = description }
    }

    /// Makes a key and writes it to a new file.
    package static func make(name: ExactText, at path: String) throws(Failure) -> SealKey {
        do {
            let key = try SealKey(name: name)
            try PrivateFile(path).create(key.secretText + "\n")
            return key
        } catch {
            throw Failure("\(error)")
        }
    }

    /// The private key in a file.
    /// - Parameter shown: what messages call the file; its path unless given.
    package static func sealKey(at path: String, shownAs shown: String? = nil) throws(Failure) -> SealKey {
        let file = PrivateFile(path, shownAs: shown)
        do {
            guard let (text, isOpenToOthers) = try file.read() else {
                throw Failure("\(file.shown): there is no such file; jobledger audit key --out FILE makes a key")
            }
            guard !isOpenToOthers else {
                throw Failure(
                    "\(file.shown): others may read it, and whoever has the key can sign another history: "
                        + "chmod 600 the file")
            }
            return try SealKey(secretText: text)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure("\(file.shown): \(error)")
        }
    }

    /// The verifier key, from a file that has it or the private key.
    package static func verifier(at path: String, shownAs shown: String? = nil) throws(Failure) -> VerifierKey {
        let file = PrivateFile(path, shownAs: shown)
        do {
            guard let text = try file.read()?.text else { throw Failure("\(file.shown): there is no such file") }
            return try SealKey.isSecretText(text) ? SealKey(secretText: text).verifier : VerifierKey(text)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure("\(file.shown): \(error)")
        }
    }
}

extension KeyFile.Failure: ExitStatusProviding {
    package var exitStatus: ExitStatus { .usage }
}
