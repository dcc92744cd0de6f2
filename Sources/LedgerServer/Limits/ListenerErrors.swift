import Logging
import NIOCore

/// Keeps the service listening when a connection cannot be accepted, because its client has gone or
/// the process is out of file descriptors. Without this handler, any error would end the listener.
/// After an error it pauses briefly, because the connection stays in the queue.
final class ListenerErrors: ChannelDuplexHandler {
    typealias InboundIn = any Channel
    typealias OutboundIn = Never

    private static let pause = TimeAmount.milliseconds(100)
    private let logger: Logger
    private var isPaused = false
    private var hasToRead = false

    init(_ logger: Logger) { self.logger = logger }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard !isPaused else { return }
        logger.warning("a connection could not be accepted", metadata: ["error": "\(error)"])
        isPaused = true
        context.eventLoop.assumeIsolated().scheduleTask(in: Self.pause) {
            self.isPaused = false
            guard self.hasToRead else { return }
            self.hasToRead = false
            context.read()
        }
    }

    func read(context: ChannelHandlerContext) {
        if isPaused { hasToRead = true } else { context.read() }
    }
}
