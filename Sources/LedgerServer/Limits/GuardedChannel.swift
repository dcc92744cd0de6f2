import HummingbirdCore
import Logging
import NIOCore
import NIOHTTP1
import NIOHTTPTypes
import NIOHTTPTypesHTTP1

/// HTTP/1.1 connections, each with a ``ConnectionGuard``. The work for a connection ends with it.
struct GuardedChannel: HTTPChannelHandler {
    typealias Value = NIOAsyncChannel<HTTPRequestPart, HTTPResponsePart>

    let responder: HTTPChannelHandler.Responder
    let limits: ConnectionLimits
    let connections: ConnectionCount

    func setup(channel: any Channel, logger: Logger) -> EventLoopFuture<Value> {
        let entry = connections.enter(channel)
        return channel.eventLoop.makeCompletedFuture {
            let pipeline = channel.pipeline.syncOperations
            try pipeline.addHandler(ConnectionCloser(isDropped: entry == .dropped), position: .first)
            let guardian = ConnectionGuard(limits, isTooMany: entry == .tooMany)
            // The guard enforces the limits and explains them; the parser's larger limits bound the
            // memory.
            var decoder = NIOHTTPDecoderLimitConfiguration()
            decoder.maxHeaderFieldSize = 2 * limits.headerBytes
            decoder.maxHeaderListSize = 2 * limits.headerBytes
            decoder.maxHeaderFieldCount = HTTPRequestHead.maxFields
            try pipeline.addHandler(ByteObserver(guardian))
            try pipeline.configureHTTPServerPipeline(
                // Requests are handled one after the other, and the types of field values rule out
                // malformed ones.
                withPipeliningAssistance: false, withErrorHandling: false, withOutboundHeaderValidation: false,
                withEncoderConfiguration: .init(), withDecoderLimitConfiguration: decoder)
            try pipeline.addHandler(guardian)
            try pipeline.addHandler(HTTP1ToHTTPServerCodec(secure: false))
            return try NIOAsyncChannel(
                wrappingChannelSynchronously: channel, configuration: .init(isOutboundHalfClosureEnabled: true))
        }
    }

    /// Runs the connection's requests on its event loop. When the connection closes, their work is
    /// cancelled, including queries whose answers nobody waits for.
    func handle(value: Value, logger: Logger) async {
        let loop = LoopExecutor(value.channel.eventLoop)
        let requests = Task(executorPreference: loop) { await handleHTTP(asyncChannel: value, logger: logger) }
        value.channel.closeFuture.whenComplete { _ in requests.cancel() }
        await withTaskCancellationHandler {
            await requests.value
        } onCancel: {
            requests.cancel()
        }
    }
}

/// Reports bytes to the guard before they are parsed.
private final class ByteObserver: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    typealias InboundOut = ByteBuffer

    private let guardian: ConnectionGuard

    init(_ guardian: ConnectionGuard) { self.guardian = guardian }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        guardian.bytesArrived(unwrapInboundIn(data))
        context.fireChannelRead(data)
    }
}
