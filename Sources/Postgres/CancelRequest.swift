import BlockingIO
import CLibpq
import Dispatch

/// What PQcancel needs of a connection.
///
/// PQcancel has no timeout: a server that hangs would block us for ever. So it runs on a thread of
/// its own, which can be abandoned together with the connection.
///
/// `@unchecked Sendable`: libpq's manual, 34.7 «Canceling Queries in Progress», allows PQcancel
/// from another thread than the one that uses the connection; `pointer` is a constant copy of the
/// connection's address, freed only in `deinit`.
final class CancelRequest: @unchecked Sendable {
    private let pointer: OpaquePointer
    private let processed = Locked(false)

    init?(_ connection: OpaquePointer) {
        guard let pointer = PQgetCancel(connection) else { return nil }
        self.pointer = pointer
    }

    deinit { PQfreeCancel(pointer) }

    var isProcessed: Bool { processed.withLock { $0 } }

    /// Sends it once, and rings when the server has processed it.
    func send(ringing interrupt: Interrupt) {
        DispatchQueue(label: "postgres-cancel").async {
            var message = [CChar](repeating: 0, count: 256)
            _ = PQcancel(self.pointer, &message, Int32(message.count))
            self.processed.withLock { $0 = true }
            interrupt.ring()
        }
    }
}
