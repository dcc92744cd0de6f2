import Foundation
import LedgerCore
import PrivateFiles
import TransparencyLog

/// Keys in files: the sealer's, which nobody else may read, and those of who checks.
public enum KeyFile {
    public struct Failure: Error, Sendable, CustomStringConvertible {
        public let description: String
        public init(_ description: String) { self.description = description }
    }

    /// Makes a key and keeps it in a new file.
    public static func make(name: ExactText, at path: String) throws(Failure) -> SealKey {
        do {
            let key = try SealKey(name: name)
            try PrivateFile(path).create(key.secretText + "\n")
            return key
        } catch {
            throw Failure("\(error)")
        }
    }

    /// The private key in a file.
    public static func sealKey(at path: String) throws(Failure) -> SealKey {
        do {
            guard let (text, isOpenToOthers) = try PrivateFile(path).read() else {
                throw Failure("there is no file \(path); jobledger audit key --out \(path) makes a key")
            }
            guard !isOpenToOthers else {
                throw Failure("others may read \(path), and whoever has the key can sign another history: chmod 600 \(path)")
            }
            return try SealKey(secretText: text)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure("\(path): \(error)")
        }
    }

    /// The key that checks, from a file with it; one with the private key will do as well.
    public static func verifier(at path: String) throws(Failure) -> VerifierKey {
        do {
            guard let text = try PrivateFile(path).read()?.text else { throw Failure("there is no file \(path)") }
            if let key = try? SealKey(secretText: text) { return key.verifier }
            return try VerifierKey(text)
        } catch let failure as Failure {
            throw failure
        } catch {
            throw Failure("\(path): \(error)")
        }
    }
}
