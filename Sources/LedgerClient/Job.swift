public import LedgerCore

/// A job's row: its metadata and its progress.
public struct Job: Sendable, Equatable, Decodable {
    public enum Status: String, Sendable, Decodable { case queued, running, finished, failed }
    public enum Kind: String, Sendable, Decodable { case server, local }

    public var id: JobID
    public var name: String
    public var kind: Kind
    public var status: Status
    /// 0 if unknown.
    public var total: Int
    public var completed: Int
    public var createdAt: Timestamp
    public var updatedAt: Timestamp
    public var completedAt: Timestamp?
    public var error: String?
    /// Whether the job did less than it was asked to.
    public var isTruncated: Bool
    public var viewURL: String?
    public var csvURL: String?

    private enum CodingKeys: String, CodingKey {
        case id, name, kind, status, total, completed, error, truncated
        case createdAt = "created_at"
        case updatedAt = "updated_at"
        case completedAt = "completed_at"
        case viewURL = "view_url"
        case csvURL = "csv_url"
    }

    public init(from decoder: any Decoder) throws {
        let row = try decoder.container(keyedBy: CodingKeys.self)
        func moment(_ key: CodingKeys) throws -> Timestamp? {
            guard let text = try row.decodeIfPresent(String.self, forKey: key) else { return nil }
            guard let moment = Timestamp(text) else {
                throw DecodingError.dataCorruptedError(
                    forKey: key, in: row, debugDescription: "\"\(text)\" is not a time")
            }
            return moment
        }
        func required(_ key: CodingKeys) throws -> Timestamp {
            guard let moment = try moment(key) else {
                throw DecodingError.valueNotFound(Timestamp.self, .init(codingPath: [key], debugDescription: "no time"))
            }
            return moment
        }
        id = try row.decode(JobID.self, forKey: .id)
        name = try row.decode(String.self, forKey: .name)
        kind = try row.decode(Kind.self, forKey: .kind)
        status = try row.decode(Status.self, forKey: .status)
        total = try row.decode(Int.self, forKey: .total)
        completed = try row.decode(Int.self, forKey: .completed)
        createdAt = try required(.createdAt)
        updatedAt = try required(.updatedAt)
        completedAt = try moment(.completedAt)
        error = try row.decodeIfPresent(String.self, forKey: .error)
        isTruncated = try row.decode(Bool.self, forKey: .truncated)
        viewURL = try row.decodeIfPresent(String.self, forKey: .viewURL)
        csvURL = try row.decodeIfPresent(String.self, forKey: .csvURL)
    }
}
