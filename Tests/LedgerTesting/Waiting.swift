/// Asks again and again until there is an answer. For things that another process does and that it
/// does not signal.
/// - Throws: ``NeverHappened`` after the limit.
package func eventually<T>(
    within limit: Duration = .seconds(300), _ question: String, _ answer: () async throws -> T?
) async throws -> T {
    let deadline = ContinuousClock.now.advanced(by: limit)
    while true {
        if let answer = try await answer() { return answer }
        guard ContinuousClock.now < deadline else { throw NeverHappened(question: question, limit: limit) }
        try await Task.sleep(for: .milliseconds(10))
    }
}

package struct NeverHappened: Error, CustomStringConvertible {
    package let question: String
    package let limit: Duration
    package init(question: String, limit: Duration) {
        self.question = question
        self.limit = limit
    }

    package var description: String { "not within \(limit): \(question)" }
}
