import BlockingIO
package import Texts

/// The channels and patterns of a ``RedisSubscription``. They may change while it runs.
///
/// A change is sent to the server as soon as the subscriber waits for the next message; several
/// changes are sent together.
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
        /// The interrupts of the connections that use these topics.
        var bells: [ObjectIdentifier: Interrupt] = [:]
    }

    private let state: Locked<State>

    package init(_ names: Names) { state = Locked(State(names: names)) }

    package var names: Names { state.withLock { $0.names } }

    /// Changes the names. At least one must remain, because a subscription to nothing is not
    /// possible.
    package func change(_ body: (inout Names) -> Void) {
        let bells = state.withLock { state in
            body(&state.names)
            state.changes += 1
            return Array(state.bells.values)
        }
        for bell in bells { bell.ring() }
    }

    /// The names, if they have changed since the change with this number.
    func changed(since changes: Int?) -> (names: Names, changes: Int)? {
        state.withLock { $0.changes == changes ? nil : ($0.names, $0.changes) }
    }

    func attach(_ bell: Interrupt) { state.withLock { $0.bells[ObjectIdentifier(bell)] = bell } }
    func detach(_ bell: Interrupt) { state.withLock { $0.bells[ObjectIdentifier(bell)] = nil } }
}
