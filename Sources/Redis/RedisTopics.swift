import BlockingIO
package import Texts

/// The channels and patterns of a ``RedisSubscription``, which may change while it goes on.
///
/// The server is told of a change as soon as somebody waits for the next message, many changes in
/// one go.
package final class RedisTopics: Sendable {
    package struct Names: Sendable, Equatable {
        package var channels: Set<ExactText>
        package var patterns: Set<ExactText>
        package init(channels: Set<ExactText> = [], patterns: Set<ExactText> = []) {
            self.channels = channels
            self.patterns = patterns
        }

        package var isEmpty: Bool { channels.isEmpty && patterns.isEmpty }
    }

    private struct State {
        var names: Names
        var changes = 0
        /// Of the lines that listen.
        var bells: [ObjectIdentifier: Interrupt] = [:]
    }

    private let state: Locked<State>

    package init(_ names: Names) { state = Locked(State(names: names)) }

    package var names: Names { state.withLock { $0.names } }

    /// Leave one name there at least: a subscription to nothing is none.
    package func change(_ body: (inout Names) -> Void) {
        let bells = state.withLock { state in
            body(&state.names)
            state.changes += 1
            return Array(state.bells.values)
        }
        for bell in bells { bell.ring() }
    }

    /// The names, where they have changed since there were so many changes.
    func changed(since changes: Int?) -> (names: Names, changes: Int)? {
        state.withLock { $0.changes == changes ? nil : ($0.names, $0.changes) }
    }

    func attach(_ bell: Interrupt) { state.withLock { $0.bells[ObjectIdentifier(bell)] = bell } }
    func detach(_ bell: Interrupt) { state.withLock { $0.bells[ObjectIdentifier(bell)] = nil } }
}
