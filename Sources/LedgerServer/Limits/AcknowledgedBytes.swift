import Glibc
import NIOCore

/// What a client's machine has taken of what was sent to it, as TCP knows it.
///
/// The memory between us and the client is large: what has left ours says nothing of what has
/// arrived, nor does what is still here say that nothing has.
enum AcknowledgedBytes {
    /// `struct tcp_info` as Linux has had it since 4.1: 8 bytes, 24 words of 4, and from there on
    /// words of 8, the third of which is `tcpi_bytes_acked`.
    private typealias TCPInfo = InlineArray<29, UInt64>
    private static let place = (8 + 24 * 4) / 8 + 2

    /// `nil` where the channel cannot tell. To be asked on the channel's event loop.
    static func of(_ channel: any Channel) -> UInt64? {
        guard let socket = channel as? any SocketOptionProvider else { return nil }
        // The kernel writes as many bytes as it has, and no more than there are; the rest stays 0.
        let info: EventLoopFuture<TCPInfo> = socket.unsafeGetSocketOption(
            level: .tcp, name: NIOBSDSocket.Option(rawValue: TCP_INFO))
        var bytes: UInt64?
        // On its loop the channel answers at once.
        info.assumeIsolated().whenSuccess { bytes = $0[place] }
        return bytes
    }
}
