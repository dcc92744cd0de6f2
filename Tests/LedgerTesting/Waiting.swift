/// Asks again and again until the answer is there: for what another process does, which sends us no
/// signal.
public func eventually<T>(
    within limit: Duration = .seconds(300), _ question: String, _ answer: () async throws -> T?
) async throws -> T {
    let deadline = ContinuousClock.now.advanced(by: limit)
    while true {
        if let answer = try await answer() { return answer }
        guard ContinuousClock.now < deadline else { throw NeverHappened(question: question, limit: limit) }
        try await Task.sleep(for: .milliseconds(10))
    }
}

public struct NeverHappened: Error, CustomStringConvertible {
    public let question: String
    public let limit: Duration
    public init(question: String, limit: Duration) {
        self.question = question
        self.limit = limit
    }

    public var description: String { "not within \(limit): \(question)" }
}
