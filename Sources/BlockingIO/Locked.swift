import Foundation

/// A value behind a lock.
///
/// The standard library's `Mutex` does the same. But on Linux it calls the kernel directly, which
/// the thread sanitizer cannot see, so the sanitizer reports a race at every use.
///
/// `@unchecked Sendable` holds because only ``withLock(_:)`` touches `value`, always under the
/// lock, and because it can return `Sendable` values only.
package final class Locked<Value: Sendable>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    package init(_ value: Value) { self.value = value }

    package func withLock<T: Sendable>(_ body: (inout Value) -> T) -> T { lock.withLock { body(&value) } }
}
