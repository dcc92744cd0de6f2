import NIOCore

/// Stands next to the socket, before TLS and everything else that would like to say something
/// first: whoever has to go is gone at once.
final class ConnectionCloser: ChannelDuplexHandler {
    typealias InboundIn = NIOAny
    typealias OutboundIn = NIOAny

    private let isDropped: Bool

    /// - Parameter isDropped: whether the connection is to be closed as soon as it is there.
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
