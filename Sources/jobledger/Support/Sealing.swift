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
    /// The name of the key that seals the current epoch of the ledger.
    func sealKeyName() async throws -> ExactText {
        let store = try store(connections: 1)
        let epoch = try await store.epoch()
        await store.close()
        return SealKeyRotation.keyName(ledger, epoch)
    }

    /// A sealer of this ledger.
    /// - Parameters:
    ///   - keyFile: the file with the private key; JOBLEDGER_SEAL_KEY if not given.
    ///   - endedKey: the file of the key that sealed before the ledger lost events.
    func sealer(keyFile: String? = nil, afterLossOf endedKey: String? = nil, logger: Logger) throws -> Sealer {
        guard let path = keyFile ?? sealKey?.path else {
            throw Problem(
                description:
                    "JOBLEDGER_SEAL_KEY is not set: it must name the file with the key that seals "
                    + "(jobledger audit key --out FILE makes one)")
        }
        return Sealer(
            key: try KeyFile.sealKey(at: path, shownAs: keyFile ?? sealKey?.description),
            record: SealerRecord(path: sealMemory?.path ?? SealerRecord.path(besideKey: path)),
            url: try requireDatabaseURL(), ledger: ledger, afterLossOf: try endedKey.map(endedSeal), logger: logger)
    }

    private func endedSeal(_ path: String) throws -> EndedSeal {
        let beside = SealerRecord.path(besideKey: path)
        let isBeside = FileManager.default.fileExists(atPath: beside)
        return EndedSeal(
            key: try KeyFile.sealKey(at: path),
            record: SealerRecord(path: isBeside ? beside : sealMemory?.path ?? beside))
    }

    /// How far the sealer whose record is here has sealed, and in which epoch; `nil` where no
    /// record is known, or nothing was sealed.
    func sealedPlace() async throws -> Place? {
        guard let path = sealMemory?.path ?? sealKey.map({ SealerRecord.path(besideKey: $0.path) }) else { return nil }
        return try await SealerRecord(path: path).place()
    }

    /// The verifier key: from the file, otherwise from the settings, otherwise derived from the key
    /// that seals; `nil` if none of them is given.
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
                    "no verifier key is known here: give --key FILE, or set JOBLEDGER_SEAL_VERIFIER to what "
                    + "`jobledger audit key --out` printed")
        }
        return key
    }
}

extension LedgerSettings {
    /// The sealer of `jobledger up`. Its key is the one of the settings, otherwise the one in the
    /// data directory, which is made for the current epoch if needed.
    ///
    /// Returns no sealer if the ledger was last sealed with a key that is not here. Whether to
    /// continue with another key is a decision for the operator.
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
                """
                not sealing: the ledger was last sealed with a key that is not in this directory. \
                Set JOBLEDGER_SEAL_KEY to its file, or make another with jobledger audit key
                """, metadata: ["key": "\(path)"])
            return (nil, nil)
        }
        return (try sealer(keyFile: path, logger: logger), try KeyFile.verifier(at: path))
    }
}

extension DataDirectory {
    /// The file with the key that seals. The file beside it, with the suffix `.signed`, holds the
    /// last signed checkpoint.
    var sealKey: URL { URL(fileURLWithPath: path).appending(path: "seal.key") }
}
