/// What can happen to a stream. Jobs have the five types that are named here; the types of other
/// categories are declared with them.
///
/// A type means something only together with the category of its stream: `failed` of another
/// category is not the end of a job.
public struct EventType: RawRepresentable, Sendable, Hashable {
    /// The types of jobs are numbers inside, because a relay reads millions of them.
    private enum Kind: Sendable, Hashable {
        case queued, progress, truncated, finished, failed
        case other(String)
    }

    private let kind: Kind

    private init(_ kind: Kind) { self.kind = kind }

    public static var queued: EventType { EventType(.queued) }
    public static var progress: EventType { EventType(.progress) }
    public static var truncated: EventType { EventType(.truncated) }
    public static var finished: EventType { EventType(.finished) }
    public static var failed: EventType { EventType(.failed) }

    /// The types of jobs, in the order of a job's life.
    public static let jobTypes: [EventType] = [.queued, .progress, .truncated, .finished, .failed]

    /// The most bytes of a name.
    package static let longestName = 63

    /// `nil` unless `rawValue` is a name of a type: at most 63 of `a–z`, `0–9` and `_`, with a
    /// letter first.
    public init?(rawValue: String) {
        switch rawValue {
        case "progress": kind = .progress
        case "queued": kind = .queued
        case "finished": kind = .finished
        case "failed": kind = .failed
        case "truncated": kind = .truncated
        default:
            guard rawValue.isPlainName(most: Self.longestName) else { return nil }
            kind = .other(rawValue)
        }
    }

    public var rawValue: String {
        switch kind {
        case .queued: "queued"
        case .progress: "progress"
        case .truncated: "truncated"
        case .finished: "finished"
        case .failed: "failed"
        case .other(let name): name
        }
    }

    /// Whether jobs have this type.
    public var isOfJobs: Bool { if case .other = kind { false } else { true } }

    /// Whether an event of this type is the last of a job. It says nothing about the streams of
    /// other categories.
    public var isEnd: Bool { self == .finished || self == .failed }
}

extension EventType {
    /// The problem with a text that is not a name. It follows the place of the text in a message.
    package static func problem(with text: String) -> String {
        """
        must be the name of a type, at most \(longestName) of a–z, 0–9 and _ with a letter first, not \
        \(text.isEmpty ? "an empty text" : text.shortened(toBytes: 80))
        """
    }
}

extension EventType: CustomStringConvertible {
    public var description: String { rawValue }
}
