import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore
import Seal
import TransparencyLog

/// The seal, for any tool that verifies C2SP's tlog-tiles: the checkpoint, tiles, entries and
/// proofs under `/v1/audit`.
struct SealRoutes: Sendable {
    let seal: SealProofs

    init(store: EventStore) { seal = SealProofs(store) }

    var routes: [Route] {
        [
            Route(.get, "/v1/audit/checkpoint", scope: .read, checkpoint),
            Route(.get, "/v1/audit/tile/entries/{path}", scope: .read, entries),
            Route(.get, "/v1/audit/tile/{path}", scope: .read, tile),
            Route(.get, "/v1/audit/consistency", scope: .read, consistency),
            Route(.get, "/v1/audit/proof", scope: .read, proof),
        ]
    }

    @Sendable private func checkpoint(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow()
        guard let checkpoint = try await seal.checkpoint() else { throw Self.nothingSealed }
        return Self.text(checkpoint.text)
    }

    @Sendable private func consistency(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow("from")
        guard let from = try authorized.query.position("from") else {
            throw Problem.invalidRequest("\"from\" must be given: the size of the older checkpoint")
        }
        return Self.text(try await seal.update(from: from).text)
    }

    @Sendable private func proof(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow("event", "category", "job", "withhold")
        let (event, job) = (try authorized.query.text("event"), try authorized.query.exact("job"))
        let category = try authorized.query.category()
        let isWithheld =
            try authorized.query.text("withhold").map { value in
                guard let flag = Bool(value) else {
                    throw Problem.invalidRequest("\"withhold\" must be true or false, not \(Query.quoted(value))")
                }
                return flag
            } ?? false
        switch (event, job) {
        case (let event?, nil) where category == nil:
            guard let name = EventReference(event) else {
                throw Problem.invalidRequest(
                    "\"event\" must be a position or the id of an event (a UUID), not \(Query.quoted(event))")
            }
            guard let proof = try await seal.proof(of: name, isWithheld: isWithheld) else {
                throw Problem(.notFound, "unknown_event", "there is no such event")
            }
            return Self.text(proof.text)
        case (nil, let job?):
            let stream = StreamKey(category ?? .job, job)
            let proofs = try await seal.proofs(ofStream: stream, isWithheld: isWithheld)
            guard !proofs.isEmpty else {
                throw Problem(.notFound, "unknown_job", "there is no such \(stream.category)")
            }
            return Self.text(proofs.map(\.text).joined())
        default: throw Problem.invalidRequest("give \"event\" or \"job\"; \"category\" goes with \"job\"")
        }
    }

    // MARK: Tiles

    @Sendable private func tile(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow()
        let segments = Route.segments(authorized.job.text)
        guard let level = segments.first, let number = Int(decimal: level), (0...Tile.highestLevel).contains(number),
            "\(number)" == level,
            let place = Tile.parse(segments.dropFirst())
        else { throw Self.noTile }
        return try Self.bytes(await seal.tile(Tile(level: number, number: place.number), width: place.width))
    }

    @Sendable private func entries(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow()
        guard let place = Tile.parse(Route.segments(authorized.job.text)) else { throw Self.noTile }
        return try Self.bytes(await seal.entries(place.number, width: place.width))
    }

    // MARK: Answers

    private static let noTile = Problem(
        .notFound, "unknown_tile",
        "the checkpoint's tree has no such tile; a path looks like 0/x001/234 or 0/x001/234.p/17")

    static let nothingSealed = Problem(
        .notFound, "not_sealed", "nothing is sealed yet: start a sealer (jobledger audit seal)")

    /// An answer that the next seal may change.
    private static func text(_ text: String) -> Response {
        Response(
            status: .ok, headers: [.contentType: "text/plain; charset=utf-8", .cacheControl: "no-cache"],
            body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    /// An answer that never changes.
    private static func bytes(_ bytes: [UInt8]?) throws -> Response {
        guard let bytes else { throw noTile }
        return Response(
            status: .ok,
            headers: [.contentType: "application/octet-stream", .cacheControl: "private, max-age=31536000, immutable"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: bytes)))
    }
}
