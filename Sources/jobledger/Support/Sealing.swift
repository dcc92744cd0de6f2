import ArgumentParser
import EventStore
import Foundation
import LedgerCore
import LedgerSettings
import Logging
import Postgres
import Seal
import TransparencyLog

extension LedgerSettings {
    /// What the key of the ledger is called that seals its present epoch.
    func sealKeyName() async throws -> ExactText {
        let store = try store(connections: 1)
        let epoch = try await store.epoch()
        await store.close()
        return SealKeyRotation.keyName(ledger, epoch)
    }

    /// - Parameter keyFile: that of the settings unless given.
    func sealer(keyFile: String? = nil, logger: Logger) throws -> Sealer {
        guard let path = keyFile ?? sealKey?.path else {
            throw Problem(
                description:
                    "JOBLEDGER_SEAL_KEY is not set: it names the file with the key that seals (jobledger audit key --out FILE makes one)"
            )
        }
        return Sealer(
            key: try KeyFile.sealKey(at: path, shownAs: keyFile ?? sealKey?.description),
            record: SealerRecord(path: sealMemory?.path ?? SealerRecord.path(besideKey: path)),
            url: try requireDatabaseURL(), ledger: ledger, logger: logger)
    }

    /// The key that checks: from a file, or else as the settings have it, or as it follows from the
    /// key that seals.
    func verifierKey(_ file: String?) throws -> VerifierKey? {
        if let file { return try KeyFile.verifier(at: file) }
        if let sealVerifier {
            do {
                return try VerifierKey(sealVerifier)
            } catch {
                throw Problem(description: "JOBLEDGER_SEAL_VERIFIER: \(error)")
            }
        }
        return try sealKey.map { try KeyFile.verifier(at: $0.path, shownAs: $0.description) }
    }

    func requireVerifierKey(_ file: String?) throws -> VerifierKey {
        guard let key = try verifierKey(file) else {
            throw Problem(
                description:
                    "no verifier key is known here: give --key FILE, or set JOBLEDGER_SEAL_VERIFIER to what `jobledger audit key --out` printed"
            )
        }
        return key
    }
}

extension LedgerSettings {
    /// The sealer of an `up`, with the key of the settings or one in its directory, which it makes
    /// for the present epoch. Without a sealer where the ledger is sealed by a key that is not
    /// here: to go on with another is for people to decide.
    func prepareSeal(_ directory: DataDirectory, logger: Logger) async throws -> (
        sealer: Sealer?, verifier: VerifierKey?
    ) {
        if let sealKey {
            return (try sealer(logger: logger), try KeyFile.verifier(at: sealKey.path, shownAs: sealKey.description))
        }
        let store = try store(connections: 1)
        let epoch = try await store.epoch()
        let origin = try await store.pool.withConnection { try await SealStatus.lastOrigin(on: $0) }
        await store.close()
        let path = directory.sealKey.path
        guard try SealKeyRotation(path: path, ledger: ledger, logger: logger).prepare(epoch, lastUsed: origin) else {
            logger.warning(
                "the ledger is sealed by a key that is not here, and is not sealed now: JOBLEDGER_SEAL_KEY names a key; jobledger audit key makes another",
                metadata: ["key": "\(path)"])
            return (nil, nil)
        }
        return (try sealer(keyFile: path, logger: logger), try KeyFile.verifier(at: path))
    }
}

extension DataDirectory {
    /// The key that seals; beside it is what was signed with it.
    var sealKey: URL { URL(fileURLWithPath: path).appending(path: "seal.key") }
}
