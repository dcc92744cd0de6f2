import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore
import Projections

/// The route that returns the row of a stream, in whichever read model shows its category.
struct StreamRoutes: Sendable {
    let store: EventStore
    let watch: ProjectionWatch
    let definitions: [ProjectionDefinition]

    var routes: [Route] { [Route(.get, "/v1/streams/{category}/{id}", scope: .read, stream)] }

    @Sendable private func stream(_ authorized: AuthorizedRequest) async throws -> Response {
        try authorized.query.allow("at", "min_position", "read_model")
        let (category, id) = (authorized.category, authorized.job)
        let definition = try await definitions.showing(
            category, named: try authorized.query.text("read_model"), in: store)
        let model = try StreamReadModel(definition, of: category, store: store)
        let (position, row): (Position, String?)
        if let at = try authorized.pastMoment() {
            position = try await store.position(of: at)
            row = try await model.row(id, at: position)
        } else {
            if let least = try authorized.query.position("min_position") {
                try await watch.wait(for: least, of: model.definition.name)
            }
            (position, row) = try await model.present(id)
        }
        // Whether there is such a category matters only where there is no row.
        if row == nil { try await store.require(category) }
        return try .row(row, of: category, at: position)
    }
}

extension AuthorizedRequest {
    /// The moment at which a row is asked for; `nil` for now.
    func pastMoment() throws -> LogMoment? {
        guard let at = try query.moment("at") else { return nil }
        guard try query.text("min_position") == nil else {
            throw Problem.invalidRequest("give \"at\" or \"min_position\", not both: a past state needs no waiting")
        }
        return at
    }
}

extension Response {
    /// The row of a stream, a JSON object, in a read model that has folded the log to a position.
    /// - Throws: a ``Problem`` if there is no row.
    static func row(_ row: String?, of category: Category, at position: Position) throws -> Response {
        guard let row else { throw Problem.noStream(of: category, at: position) }
        var response = Response.json(Array(row.utf8))
        response.headers[.ledgerPosition] = "\(position)"
        return response
    }
}
