import AsyncHTTPClient
public import LedgerCore
import NIOHTTP1
public import TransparencyLog

extension LedgerClient: SealedLog {
    /// The last signed checkpoint; `nil` while nothing is sealed.
    public func checkpoint() async throws -> SignedCheckpoint? {
        do {
            return try await seal("/v1/audit/checkpoint") { text throws(Malformed) in try SignedCheckpoint(text) }
        } catch let error as LedgerClientError where error.kind == .refused(code: "not_sealed") {
            return nil
        }
    }

    /// The last checkpoint, with the proof that it continues the one with `size` events.
    public func update(from size: Int64) async throws -> CheckpointUpdate {
        try await seal("/v1/audit/consistency?from=\(size)") { text throws(Malformed) in try CheckpointUpdate(text) }
    }

    /// The proof of an event as a C2SP tlog-proof, which `jobledger audit check` verifies.
    public func proof(of event: EventID) async throws -> String {
        String(
            decoding: try await send(request(.GET, "/v1/audit/proof?event=\(event.text)", accept: "text/plain")).body,
            as: UTF8.self)
    }

    private func seal<Value>(_ path: String, _ parse: (String) throws(Malformed) -> Value) async throws -> Value {
        let answer = try await send(request(.GET, path, accept: "text/plain"))
        do {
            return try parse(String(decoding: answer.body, as: UTF8.self))
        } catch {
            throw LedgerClientError(.notUnderstood, "\(path): \(error)")
        }
    }

    /// Has a witness check the service.
    /// - Throws: ``LedgerClientError``, of the kind `historyRewritten` if the history is not the
    ///   one that the witness has seen.
    func verify(by witness: Witness) async throws {
        do {
            try await witness.look(at: self)
        } catch let error as HistoryRewritten {
            throw LedgerClientError(.historyRewritten, error.description)
        } catch let error as SignedCheckpoint.NotSigned {
            throw LedgerClientError(.historyRewritten, error.description)
        }
    }
}
