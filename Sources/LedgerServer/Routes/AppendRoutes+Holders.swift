import EventStore
import Hummingbird
import LedgerCore
import Logging

/// The ledger's refusal of an append by somebody who may also read, with what only such a caller is
/// told.
struct RefusalOfReader: Error, Sendable {
    let refusal: Refusal
    let holder: ClaimHolder
}

extension ClaimHolder {
    /// A JSON object.
    var json: [UInt8] {
        var json = Array("{\"key\":".utf8)
        json.appendJSON(string: key)
        json += ",\"stream\":".utf8
        json.appendJSON(string: stream)
        json.append(UInt8(ascii: "}"))
        return json
    }
}

extension AppendRoutes {
    /// The refusal, with the stream that holds the value where it is not unique and the caller may
    /// know.
    func told(_ refusal: Refusal, of request: AppendRequest, to authorized: AuthorizedRequest) async -> any Error {
        guard refusal.code == .notUnique, let holder = await holders(against: [0: request], authorized)[0] else {
            return refusal
        }
        return RefusalOfReader(refusal: refusal, holder: holder)
    }

    /// The streams that hold values for which requests were refused, by the keys of the requests.
    ///
    /// None if the caller may not read, or if the ledger does not answer: the refusal is as right
    /// without it.
    func holders(
        against refused: [Int: AppendRequest], _ authorized: AuthorizedRequest
    ) async -> [Int: ClaimHolder] {
        guard authorized.mayRead, !refused.isEmpty else { return [:] }
        let places = refused.keys.sorted()
        do {
            let found = try await store.holders(against: places.compactMap { refused[$0] })
            return Dictionary(uniqueKeysWithValues: found.map { (places[$0.key], $0.value) })
        } catch {
            authorized.context.logger.warning(
                "a refusal was answered without the holder of the value", metadata: ["error": "\(error)"])
            return [:]
        }
    }
}
