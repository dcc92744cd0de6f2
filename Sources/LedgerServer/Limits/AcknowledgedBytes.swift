import Glibc
import NIOCore

/// How many bytes the client's machine has acknowledged, according to TCP.
///
/// Large buffers lie between the service and the client. That bytes have left the service does not
/// mean that they have arrived, and that some are still buffered here does not mean that nothing
/// arrives.
enum AcknowledgedBytes {
    /// `struct tcp_info` since Linux 4.1: 8 bytes, 24 words of 4 bytes, then words of 8 bytes, the
    /// third of which is `tcpi_bytes_acked`.
    private typealias TCPInfo = InlineArray<29, UInt64>
    private static let place = (8 + 24 * 4) / 8 + 2

    /// The acknowledged bytes; `nil` if the channel cannot tell. Call it on the channel's event
    /// loop.
    static func of(_ channel: any Channel) -> UInt64? {
        guard let socket = channel as? any SocketOptionProvider else { return nil }
        // The kernel writes no more bytes than the structure has; if it writes fewer, the rest
        // stays 0.
        let info: EventLoopFuture<TCPInfo> = socket.unsafeGetSocketOption(
            level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_INFO))
        var bytes: UInt64?
        // On its own event loop the channel answers at once.
        info.assumeIsolated().whenSuccess { bytes = $0[place] }
        return bytes
    }
}
