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
        let model = try await model(of: category, named: authorized.query.text("read_model"))
        let (position, row): (Position, String?)
        if let at = try authorized.pastMoment() {
            position = try await store.position(of: at)
            do {
                row = try await model.row(id, at: position)
            } catch let error as DependsOnTheLog {
                throw Problem.invalidRequest("\"at\": \(error)")
            }
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

    private func model(of category: Category, named name: String?) async throws -> StreamReadModel {
        do {
            let definition = try ProjectionDefinition.showing(category, named: name, among: definitions)
            return try StreamReadModel(definition, of: category, store: store)
        } catch let error as NoReadModel {
            // Perhaps because there is no such category.
            try await store.require(category)
            guard error.showing.isEmpty else { throw Problem.invalidRequest("\"read_model\": \(error)") }
            throw Problem(.notFound, "not_found", "\(error)")
        }
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
        guard let row else {
            throw Problem(.notFound, "unknown_job", "there is no such \(category) at position \(position)")
                .adding(.ledgerPosition, "\(position)")
        }
        var response = Response.json(Array(row.utf8))
        response.headers[.ledgerPosition] = "\(position)"
        return response
    }
}
