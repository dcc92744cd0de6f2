import BlockingIO
import EventStore
import Logging
import NIOCore
import Postgres

/// The documents with the categories of the ledger, made when they are asked for.
actor ServedDocuments {
    private struct Made: Sendable {
        let installed: [ServiceDocument.Installed]
        let documents: [ServiceDocument: ByteBuffer]
        let until: ContinuousClock.Instant
    }

    private struct Slow: Error, CustomStringConvertible {
        let description = "the ledger did not say within \(ServedDocuments.limit) which categories it has"
    }

    /// How long an answer of the ledger counts.
    private static let validity = Duration.seconds(2)
    /// How long the ledger may take to answer.
    private static let limit = Duration.seconds(3)

    private let store: EventStore
    private let logger: Logger
    private var last: Made?
    /// Requests that come while the ledger is asked share the answer.
    private var making: Task<Made, any Error>?

    init(store: EventStore, logger: Logger) {
        self.store = store
        self.logger = logger
    }

    /// The document with the categories that the ledger has; without them if it cannot be asked.
    func whole(_ document: ServiceDocument) async throws -> ByteBuffer {
        do {
            if let body = try await made().documents[document] { return body }
        } catch {
            logger.warning(
                "a document leaves out the categories", metadata: ["document": "\(document)", "error": "\(error)"])
        }
        return ByteBuffer(string: try document.withoutCategories())
    }

    private func made() async throws -> Made {
        if let making { return try await making.value }
        if let last, last.until > .now { return last }
        let task = Task { [store, last] in try await Self.make(store, after: last) }
        making = task
        defer { making = nil }
        let made = try await task.value
        last = made
        return made
    }

    private static func make(_ store: EventStore, after last: Made?) async throws -> Made {
        let installed = try await withTimeLimit(limit, orThrow: Slow()) {
            try await store.pool.withConnection { connection in
                try await connection.query(Self.installed).map { row in
                    ServiceDocument.Installed(name: try row.decode(0), definition: try row.decode(1))
                }
            }
        }
        let until = ContinuousClock.now.advanced(by: validity)
        if let last, last.installed == installed {
            return Made(installed: installed, documents: last.documents, until: until)
        }
        var documents: [ServiceDocument: ByteBuffer] = [:]
        for document in ServiceDocument.allCases {
            documents[document] = ByteBuffer(string: try document.whole(installed, ledger: store.ledger))
        }
        return Made(installed: installed, documents: documents, until: until)
    }

    private static let installed = #"SELECT name::text, definition::text FROM categories ORDER BY name COLLATE "C""#
}
