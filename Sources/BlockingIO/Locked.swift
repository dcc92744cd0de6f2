import Foundation

/// A value behind a lock. The standard library's `Mutex` is the same, but on Linux it waits in the
/// kernel by itself, which the thread sanitizer does not see: it reports a race for each use.
///
/// `@unchecked Sendable`: `value` is touched only in ``withLock(_:)``, while the lock is held, and
/// nothing that is not `Sendable` comes out of there.
package final class Locked<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    package init(_ value: Value) { self.value = value }

    package func withLock<T: Sendable>(_ body: (inout Value) -> T) -> T { lock.withLock { body(&value) } }
}
