import Foundation
import LedgerCore
import LedgerTesting
import Logging
import Testing
import TransparencyLog

@testable import Seal

@Suite struct SealKeyRotationTests {
    private let logger = Logger(label: "test") { _ in SwiftLogNoOpLogHandler() }

    /// Each epoch has its own key. The old one is renamed with its record, so nothing that was
    /// signed is lost.
    @Test func eachEpochHasAKey() throws {
        let directory = TestServers.directory("rotation")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let path = directory.appending(path: "seal.key").path
        let ledger = try #require(LedgerName("one"))
        let rotation = SealKeyRotation(path: path, ledger: ledger, logger: logger)
        let (first, second) = (EventID.version7(), EventID.version7())
        let names = [first, second].map { SealKeyRotation.keyName(ledger, $0) }

        // A key that is somewhere else seals this epoch already.
        #expect(try !rotation.prepare(first, lastUsed: names[0]))
        #expect(try !rotation.prepare(first, lastUsed: "elsewhere"))
        #expect(!FileManager.default.fileExists(atPath: path))

        #expect(try rotation.prepare(first, lastUsed: nil))
        let key = try KeyFile.sealKey(at: path)
        #expect(key.name == names[0])
        try Data("record".utf8).write(to: URL(filePath: path + ".signed"))
        #expect(try rotation.prepare(first, lastUsed: names[0]))
        #expect(try KeyFile.sealKey(at: path).verifier == key.verifier)

        #expect(try rotation.prepare(second, lastUsed: names[0]))
        #expect(try KeyFile.sealKey(at: path).name == names[1])
        #expect(try KeyFile.sealKey(at: "\(path).\(first.text)").verifier == key.verifier)
        #expect(
            try Set(FileManager.default.contentsOfDirectory(atPath: directory.path)) == [
                "seal.key", "seal.key.\(first.text)", "seal.key.\(first.text).signed",
            ])
    }

    /// Where it cannot be found out whether there is a key, no key is made.
    @Test func unreadableIsNotMissing() throws {
        let directory = TestServers.directory("rotation")
        try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: directory) }
        let file = directory.appending(path: "file")
        try Data().write(to: file)
        let rotation = SealKeyRotation(
            path: file.path + "/seal.key", ledger: try #require(LedgerName("one")), logger: logger)
        let failure = #expect(throws: KeyFile.Failure.self) { try rotation.prepare(.version7(), lastUsed: nil) }
        #expect(failure?.description.contains("seal.key cannot be read") == true)
    }
}
