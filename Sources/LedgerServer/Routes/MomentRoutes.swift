import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore

/// The route that returns moments of the log, evenly spaced: what a bar over time shows.
struct MomentRoutes: Sendable {
    let store: EventStore

    var routes: [Route] { [Route(.get, "/v1/moments", scope: .read, moments)] }

    private static let mostPoints: Int64 = 500

    @Sendable private func moments(_ authorized: AuthorizedRequest) async throws -> Response {
        let query = authorized.query
        try query.allow("points", "by", "from", "to")
        let points = Int(try query.integer("points", 2...Self.mostPoints) ?? 100)
        let isByTime = try query.choice("by", ["position", "time"]) == "time"
        let (from, to) = (try query.moment("from"), try query.moment("to"))
        if let from, let to, from.isKnownToBeAfter(to) {
            throw Problem.invalidRequest("\"from\" is after \"to\"")
        }
        let log = LogMoments(store)
        let found = try await isByTime ? log.byTime(points, from, to) : log.byPosition(points, from, to)
        var json = Array("{\"head\":\(found.head),\"moments\":".utf8)
        json.append(list: found.moments) { moment, json in
            json.append(UInt8(ascii: "{"))
            if let time = moment.time { json += "\"time\":\"\(time)\",".utf8 }
            json += "\"position\":\(moment.position),\"recorded_at\":\"\(moment.recordedAt)\"}".utf8
        }
        json.append(UInt8(ascii: "}"))
        var response = Response.json(json)
        response.headers[.ledgerPosition] = "\(found.head)"
        return response
    }
}

extension LogMoment {
    /// Whether it is after another of the same kind. A position and a time can be compared by the
    /// log alone.
    fileprivate func isKnownToBeAfter(_ other: LogMoment) -> Bool {
        switch (self, other) {
        case (.position(let position), .position(let other)): position > other
        case (.time(let time), .time(let other)): time > other
        default: false
        }
    }
}
