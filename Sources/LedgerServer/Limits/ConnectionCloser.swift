import NIOCore

/// Closes a connection at once. It is the handler next to the socket, before TLS and all others, so
/// that none of them can delay the close by sending something first.
final class ConnectionCloser: ChannelDuplexHandler {
    typealias InboundIn = NIOAny
    typealias OutboundIn = NIOAny

    private let isDropped: Bool

    /// - Parameter isDropped: whether to close the connection as soon as it is active.
    init(isDropped: Bool) { self.isDropped = isDropped }

    func channelActive(context: ChannelHandlerContext) {
        guard !isDropped else { return context.close(promise: nil) }
        context.fireChannelActive()
    }

    func triggerUserOutboundEvent(context: ChannelHandlerContext, event: Any, promise: EventLoopPromise<Void>?) {
        guard event is CutAtOnce else { return context.triggerUserOutboundEvent(event, promise: promise) }
        context.close(promise: promise)
    }
}
