import EventStore
import Foundation
import LedgerClient
import LedgerCore
import LedgerTesting
import Logging
import Postgres
import Seal
import Testing
import TransparencyLog

@testable import LedgerServer

/// The service's answers about the seal, and clients that are its witnesses.
@Suite(.timeLimit(.minutes(10))) struct SealTests {
    /// A key for the service's ledger, and a sealer for it.
    private struct Seal: Sendable {
        let key: SealKey
        let directory: URL
        let ledger: TestLedger

        static func with(_ service: TestService, _ body: (Seal) async throws -> Void) async throws {
            let directory = TestServers.directory("seal")
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: directory) }
            try await body(
                Seal(
                    key: try SealKey(name: "test/\(service.ledger.name)"), directory: directory, ledger: service.ledger)
            )
        }

        func run() async throws {
            let sealer = Sealer(
                key: key, record: SealerRecord(path: directory.appending(path: "record").path), url: ledger.url,
                ledger: ledger.name,
                logger: Logger(label: "test") { _ in SwiftLogNoOpLogHandler() })
            _ = try await sealer.sealUntilHead()
        }

        /// Rewrites history and starts the ledger's seal again, as somebody with all keys could.
        func forget() async throws {
            try FileManager.default.removeItem(at: directory.appending(path: "record"))
            let connection = try await ledger.connect()
            try await connection.execute(
                script: """
                    ALTER TABLE seal_tiles DISABLE TRIGGER ALL; ALTER TABLE seal_checkpoints DISABLE TRIGGER ALL;
                    ALTER TABLE events DISABLE TRIGGER ALL;
                    DELETE FROM seal_tiles; DELETE FROM seal_checkpoints; UPDATE seal SET size = 0, edge = '';
                    UPDATE events SET metadata = '{"actor":"eve"}' WHERE position = 1
                    """)
            await connection.close()
        }
    }

    @Test func answers() async throws {
        try await TestService.with { service in
            try await Seal.with(service) { seal in
                #expect(try await service.ask("GET", "/v1/audit/checkpoint").json["code"].text == "not_sealed")
                #expect(try await service.ask("GET", "/v1/audit/consistency?from=0").status == 404)
                for job in 0..<300 { try await service.ledger.queue("job \(job)") }
                #expect(try await service.ask("GET", "/v1/audit/proof?event=1").json["code"].text == "not_sealed")
                try await seal.run()
                let answer = try await service.ask("GET", "/v1/audit/checkpoint")
                #expect(answer.status == 200 && answer.headers["content-type"] == "text/plain; charset=utf-8")
                let checkpoint = try SignedCheckpoint(answer.text)
                try checkpoint.verify(by: seal.key.verifier)
                #expect(checkpoint.head.size == 300)

                for (path, bytes) in [
                    ("0/000", 8192), ("0/001.p/44", 44 * 32), ("0/001.p/43", 43 * 32), ("1/000.p/1", 32),
                ] {
                    let tile = try await service.ask("GET", "/v1/audit/tile/\(path)")
                    #expect(tile.status == 200 && tile.headers["content-length"] == "\(bytes)", "\(path)")
                    #expect(tile.headers["cache-control"]?.contains("immutable") == true)
                }
                #expect(try await service.ask("GET", "/v1/audit/tile/0%2F000").status == 200)
                #expect(try await service.ask("GET", "/v1/audit/tile/entries/001.p/44").status == 200)
                for path in [
                    "0/001", "0/001.p/45", "0/002", "0/0", "8/000", "00/000", "x/000", "0", "entries/001", "entries/x",
                    "0/000/",
                ] {
                    let tile = try await service.ask("GET", "/v1/audit/tile/\(path)")
                    #expect(tile.status == 404 && tile.json["code"].text == "unknown_tile", "\(path) \(tile)")
                }
                for (path, status, code) in [
                    ("proof", 400, "invalid_request"), ("proof?event=x", 400, "invalid_request"),
                    ("proof?event=1&job=a", 400, "invalid_request"), ("proof?event=301", 404, "unknown_event"),
                    ("proof?event=\(EventID.version7().text)", 404, "unknown_event"),
                    ("proof?job=none", 404, "unknown_job"), ("proof?category=user&job=a", 400, "invalid_request"),
                    ("proof?category=user", 400, "invalid_request"),
                    ("proof?category=job&event=1", 400, "invalid_request"),
                    ("proof?category=User&job=a", 400, "invalid_request"),
                    ("proof?event=1&withhold=1", 400, "invalid_request"), ("consistency", 400, "invalid_request"),
                    ("consistency?from=-1", 400, "invalid_request"), ("consistency?from=301", 404, "not_sealed"),
                    ("checkpoint?x=1", 400, "invalid_request"),
                ] {
                    let answer = try await service.ask("GET", "/v1/audit/\(path)")
                    #expect(answer.status == status && answer.json["code"].text == code, "\(path) \(answer)")
                }
                let proof = try #require(
                    try EventProof.list(try await service.ask("GET", "/v1/audit/proof?event=7&withhold=true").text)
                        .first)
                try proof.check(by: seal.key.verifier)
                #expect(proof.event.streamID == "job 6" && proof.event.data == nil)
                let update = try CheckpointUpdate(try await service.ask("GET", "/v1/audit/consistency?from=300").text)
                #expect(update.continues(checkpoint.head))
                // The answer reports the damage. Details are only in the service's log.
                try await seal.forget()
                let touched = try await service.ask("GET", "/v1/audit/proof?event=1")
                #expect(touched.status == 404)
                try await seal.run()
                let connection = try await service.ledger.connect()
                try await connection.execute(
                    script:
                        "ALTER TABLE events DISABLE TRIGGER ALL; UPDATE events SET metadata = '{}' WHERE position = 1")
                await connection.close()
                #expect(try await service.ask("GET", "/v1/audit/proof?event=1").json["code"].text == "seal_damaged")
            }
        }
    }

    /// A witness's subscription continues while the history is the same, even after a pause, and
    /// delivers no further event when it is not.
    @Test func witnesses() async throws {
        try await TestService.with { service in
            try await Seal.with(service) { seal in
                let ledger = try LedgerClient(url: service.url, token: service.token)
                let file = CheckpointFile(path: seal.directory.appending(path: "witness").path)
                let witness = Witness(key: seal.key.verifier, memory: file)
                func first(after position: Position) async throws -> Position? {
                    for try await event in ledger.subscribe(after: Place(position)).witnessed(by: witness) {
                        return event.position
                    }
                    return nil
                }
                for job in 0..<5 { try await service.ledger.queue("job \(job)") }
                #expect(try await first(after: 0) == 1)
                #expect(try file.load() == nil)
                try await seal.run()
                #expect(try await first(after: 1) == 2)
                #expect(try file.load()?.head.size == 5)
                for job in 5..<9 { try await service.ledger.queue("job \(job)") }
                try await seal.run()
                #expect(try await first(after: 5) == 6)
                #expect(try file.load()?.head.size == 9)
                #expect(try await ledger.checkpoint()?.head.size == 9)
                let event = try #require(try await service.ledger.store.page(.init(after: 6, limit: 1)).first)
                let proof = try #require(try EventProof.list(try await ledger.proof(of: event.id)).first)
                try proof.check(by: seal.key.verifier)
                #expect(proof.event.position == 7)

                try await seal.forget()
                try await seal.run()
                let error = await #expect(throws: LedgerClientError.self) { _ = try await first(after: 6) }
                #expect(error?.kind == .historyRewritten, "\(String(describing: error))")
                #expect(error?.message.contains("rewritten") == true)
                #expect(try file.load()?.head.size == 9)
                // Without a witness, nothing notices the change.
                for try await event in ledger.subscribe(after: 6) {
                    #expect(event.position == 7)
                    break
                }
            }
        }
    }
}
