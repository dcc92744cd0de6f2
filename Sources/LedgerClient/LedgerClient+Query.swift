import AsyncHTTPClient
import Foundation
public import LedgerCore
import NIOHTTP1

extension LedgerClient {
    /// A job's row, and the complete row as JSON, with `variables`, `strategy`,
    /// `assignments_preview` and `results`; `nil` if there is no such job.
    /// - Parameters:
    ///   - id: the job.
    ///   - minPosition: waits until the row includes everything up to this position. To read your
    ///     own write, give the position that `append` returned. If that takes longer than the
    ///     client's ``LedgerClient/retryTimeout``, it throws
    ///     ``LedgerClientError/Kind/unavailable``.
    public func job(_ id: JobID, minPosition: Position? = nil) async throws -> (job: Job, json: [UInt8])? {
        try await job("/v1/jobs/\(Self.encoded(id))\(minPosition.map { "?min_position=\($0)" } ?? "")")
    }

    /// The row as it was when the log ended at `position`.
    public func job(_ id: JobID, at position: Position) async throws -> (job: Job, json: [UInt8])? {
        try await job("/v1/jobs/\(Self.encoded(id))?at=\(position)")
    }

    private func job(_ path: String) async throws -> (job: Job, json: [UInt8])? {
        guard let answer = try await answer(path) else { return nil }
        return (try Self.decode(Job.self, from: answer), answer.body)
    }

    /// The row of a stream in the read model that shows its category, as a JSON object; `nil` if
    /// there is no such stream. Its columns are those of the read model's table.
    /// - Parameters:
    ///   - category: the kind of the stream. If no read model shows it, this throws
    ///     ``LedgerClientError/Kind/refused(code:)`` with `not_found`.
    ///   - id: the stream.
    ///   - readModel: the projection whose row is wanted; needed where several show the category.
    ///   - minPosition: waits until the row includes everything up to this position, as for
    ///     ``job(_:minPosition:)``.
    public func row(
        of category: Category, _ id: JobID, readModel: String? = nil, minPosition: Position? = nil
    ) async throws -> [UInt8]? {
        try await row(of: category, id, readModel, minPosition.map { "min_position=\($0)" })
    }

    /// The row as it was when the log ended at `position`. The rows of the read model must depend
    /// on one stream each.
    public func row(
        of category: Category, _ id: JobID, readModel: String? = nil, at position: Position
    ) async throws -> [UInt8]? {
        try await row(of: category, id, readModel, "at=\(position)")
    }

    private func row(
        of category: Category, _ id: JobID, _ readModel: String?, _ moment: String?
    ) async throws -> [UInt8]? {
        let query = [readModel.map { "read_model=\(Self.encoded($0))" }, moment].compactMap(\.self)
        let path = "/v1/streams/\(category)/\(Self.encoded(id))"
        return try await answer(query.isEmpty ? path : "\(path)?\(query.joined(separator: "&"))")?.body
    }

    /// - Returns: `nil` if there is no such stream.
    private func answer(_ path: String) async throws -> Answer? {
        do {
            return try await send(request(.GET, path))
        } catch let refusal as Refusal where refusal.code == .unknownJob {
            return nil
        }
    }

    /// All jobs, newest first. Pages are fetched as needed.
    public func jobs(status: Job.Status? = nil, kind: Job.Kind? = nil) -> Pages<Job> {
        let filters = [("status", status?.rawValue), ("kind", kind?.rawValue)].compactMap { name, value in
            value.map { "\(name)=\($0)&" }
        }
        return Pages(client: self, path: "/v1/jobs?\(filters.joined())limit=100", member: "jobs") { item in
            try JSONDecoder().decode(Job.self, from: Data(item))
        }
    }

    /// The runs of a job as JSON objects: `run_index`, `variables`, `metrics`, `created_at`.
    public func runs(of job: JobID) -> Pages<[UInt8]> {
        Pages(client: self, path: "/v1/jobs/\(Self.encoded(job))/runs?limit=1000", member: "runs") { Array($0) }
    }

    /// The current events of a job, oldest first.
    public func history(of job: JobID) -> Pages<FeedEvent> {
        history(of: job, category: .job)
    }

    /// The current events of a stream of a category, oldest first.
    public func history(of stream: JobID, category: Category) -> Pages<FeedEvent> {
        let path = "\(Self.eventsPath(of: stream, in: category))?limit=1000"
        return Pages(client: self, path: path, member: "events") { try FeedEvent(json: Array($0)) }
    }

    /// The current events of the log after a position. If that is beyond the end of the log, it
    /// throws an error of the kind ``LedgerClientError/Kind/anotherLedger``.
    /// - Parameters:
    ///   - position: the last position that is not wanted.
    ///   - category: `nil` for the events of every category.
    public func events(after position: Position = 0, category: Category? = nil) -> Pages<FeedEvent> {
        let filter = category.map { "category=\($0)&" } ?? ""
        return Pages(client: self, path: "/v1/events?\(filter)limit=1000&after=\(position)", member: "events") {
            try FeedEvent(json: Array($0))
        }
    }
}

/// A list that the service returns in pages.
public struct Pages<Element: Sendable>: AsyncSequence, Sendable {
    let client: LedgerClient
    let path: String
    let member: ExactText
    let element: @Sendable (ArraySlice<UInt8>) throws -> Element

    public func makeAsyncIterator() -> Iterator { Iterator(pages: self, path: path) }

    public struct Iterator: AsyncIteratorProtocol {
        private let pages: Pages
        /// The path of the next page.
        private var path: String?
        /// In reverse order: the next element is last.
        private var elements: [Element] = []

        init(pages: Pages, path: String) {
            self.pages = pages
            self.path = path
        }

        public mutating func next() async throws -> Element? {
            while elements.isEmpty, let path {
                let answer = try await pages.client.send(pages.client.request(.GET, path))
                do {
                    let members = try JSONText.slices(of: answer.body[...])
                    let list = members.first { $0.name == pages.member }?.value ?? []
                    elements = try JSONText.elements(of: list).map(pages.element).reversed()
                    self.path = members.first { $0.name == "next" }.flatMap { JSONText.string(from: $0.value) }
                } catch {
                    throw LedgerClientError(.notUnderstood, "the service's answer is malformed: \(error)")
                }
            }
            return elements.popLast()
        }
    }
}
