internal import HummingbirdCore
internal import Logging
internal import NIOCore
internal import NIOHTTPTypes

/// HTTP/1.1 connections as Hummingbird makes them, each with a ``ConnectionGuard``.
struct GuardedChannel: HTTPChannelHandler {
    typealias Value = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    let responder: HTTPChannelHandler.Responder
    let limits: ConnectionLimits
    let connections: ConnectionCount

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let place = connections.enter(channel)
        let guardian = ConnectionGuard(limits, connections, place)
        do {
            try channel.pipeline.syncOperations.addHandler(Arrival(guardian))
        } catch {
            place?.leave()
            return channel.eventLoop.makeFailedFuture(error)
        }
        let bound = NIOLoopBound(guardian, eventLoop: channel.eventLoop)
        var decoder = HTTP1Channel.Configuration.DecoderConfiguration()
        decoder.maxHeaderFieldSize = limits.headerBytes
        decoder.maxHeaderListSize = limits.headerBytes
        decoder.maxHeaderFieldCount = 200
        let http = HTTP1Channel(
            responder: responder,
            configuration: .init(additionalChannelHandlers: [bound.value], httpDecoderConfiguration: decoder))
        return http.setup(channel: channel, logger: logger)
    }

    func handle(value: Value, logger: Logger) async {
        await withTaskExecutorPreference(LoopExecutor(value.channel.eventLoop)) {
            await handleHTTP(asyncChannel: value, logger: logger)
        }
    }
}

/// Tells the guard of bytes before anybody knows what they mean.
private final class Arrival: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let guardian: ConnectionGuard

    init(_ guardian: ConnectionGuard) { self.guardian = guardian }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guardian.bytesArrived()
        context.fireChannelRead(data)
    }
}
