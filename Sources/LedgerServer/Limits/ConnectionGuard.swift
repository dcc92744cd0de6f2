internal import HTTPTypes
internal import Logging
internal import NIOCore
internal import NIOHTTP1
internal import NIOHTTPTypes

/// Watches over one connection: how long requests take to arrive, how long nothing is asked or read, and what cannot be parsed.
///
/// One timer a connection, which looks at what has become of it and sets itself anew: nothing is scheduled or cancelled for a request.
/// It belongs to the connection's event loop, as all channel handlers do.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPRequestPart
    typealias InboundOut = HTTPRequestPart
    typealias OutboundIn = HTTPResponsePart
    typealias OutboundOut = HTTPResponsePart

    private enum Phase {
        /// Nothing of a request has come.
        case waiting
        /// A request is arriving.
        case receiving
        /// A whole request has come, and its answer is being made or sent.
        case answering
    }

    private let limits: ConnectionLimits
    private let connections: ConnectionCount
    /// `nil` for one too many.
    private let place: ConnectionCount.Place?

    private var phase = Phase.waiting
    /// When the phase began.
    private var since = NIODeadline.now()
    private var isFirst = true
    /// Requests whose heads have come and whose answers have not gone out whole.
    private var open = 0
    private var isBodyComplete = true
    private var hasBegunAnswer = false
    private var isStreaming = false
    /// Since when the client reads nothing of what is sent.
    private var unwritableSince: NIODeadline?
    private var closesAfterAnswer = false
    private var isClosing = false
    private var timer: Scheduled<Void>?

    init(_ limits: ConnectionLimits, _ connections: ConnectionCount, _ place: ConnectionCount.Place?) {
        self.limits = limits
        self.connections = connections
        self.place = place
    }

    // MARK: The connection

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        if place == nil {
            answer(
                .unavailable("there are as many connections as there may be; try again", code: "too_many_connections"), context)
        } else {
            since = .now()
            schedule(context, in: limits.request)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        leave()
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { leave() }

    private func leave() {
        timer?.cancel()
        timer = nil
        place?.leave()
    }

    /// The first bytes of a request, before any of it can be understood.
    func bytesArrived() {
        guard phase == .waiting else { return }
        phase = .receiving
        since = .now()
    }

    // MARK: Requests

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        // What still comes behind an answer that closes the connection is not looked at.
        guard !isClosing else { return }
        switch unwrapInboundIn(data) {
        case .head:
            if isFirst { place?.settle() }
            (isFirst, isBodyComplete) = (false, false)
            open += 1
        case .body: break
        case .end:
            isBodyComplete = true
            phase = open > 0 ? .answering : .waiting
            since = .now()
        }
        context.fireChannelRead(data)
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        guard let error = error as? HTTPParserError else {
            context.fireErrorCaught(error)
            return
        }
        let problem =
            error == .headerOverflow
            ? Problem(
                .requestHeaderFieldsTooLarge, "headers_too_large", "the head of a request may have \(limits.headerBytes) bytes")
            : Problem.invalidRequest("this is no HTTP request that can be understood: \(error)")
        answer(problem, context)
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        // Who reads a stream and closes its side is gone: nothing more would be written for long, and so nothing would tell.
        if case ChannelEvent.inputClosed? = event as? ChannelEvent, isStreaming { context.close(promise: nil) }
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        guard !isClosing else {
            promise?.fail(ChannelError.ioOnClosedChannel)
            return
        }
        switch unwrapOutboundIn(data) {
        case .head(let head) where head.status.kind != .informational:
            hasBegunAnswer = true
            isStreaming = head.headerFields[.contentType] == "text/event-stream"
            closesAfterAnswer = closesAfterAnswer || head.headerFields[.connection] == "close"
        case .end:
            open -= 1
            (hasBegunAnswer, isStreaming) = (false, false)
            if open == 0, isBodyComplete { (phase, since) = (.waiting, .now()) }
            if closesAfterAnswer {
                context.write(data, promise: promise)
                return close(context)
            }
        default: break
        }
        context.write(data, promise: promise)
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        unwritableSince = context.channel.isWritable ? nil : unwritableSince ?? .now()
        context.fireChannelWritabilityChanged()
    }

    /// Answers a request that nobody else will see whole, and closes the connection.
    private func answer(_ problem: Problem, _ context: ChannelHandlerContext) {
        guard !isClosing else { return }
        // Nothing can be said in the middle of another answer, or behind that to this very request.
        let isUnanswered = isBodyComplete ? open == 0 : open == 1 && !hasBegunAnswer
        guard isUnanswered else {
            isClosing = true
            context.close(promise: nil)
            return
        }
        let body = ByteBuffer(bytes: problem.json(request: nil))
        var headers = problem.headers
        headers[.contentType] = "application/problem+json"
        headers[.contentLength] = "\(body.readableBytes)"
        headers[.connection] = "close"
        context.write(wrapOutboundOut(.head(HTTPResponse(status: problem.status, headerFields: headers))), promise: nil)
        context.write(wrapOutboundOut(.body(body)), promise: nil)
        context.write(wrapOutboundOut(.end(nil)), promise: nil)
        close(context)
    }

    /// Closes after what was written has gone out. The other side may still be sending: were the connection cut while bytes wait to
    /// be read, it would lose our answer.
    private func close(_ context: ChannelHandlerContext) {
        isClosing = true
        context.flush()
        context.close(mode: .output, promise: nil)
        timer?.cancel()
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: .seconds(2)) { context.close(promise: nil) }
    }

    // MARK: The timer

    private func schedule(_ context: ChannelHandlerContext, in time: TimeAmount) {
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: time) { self.look(context) }
    }

    private func look(_ context: ChannelHandlerContext) {
        let limit =
            switch phase {
            case .waiting: isFirst ? limits.request : limits.idle
            case .receiving: limits.request
            case .answering: limits.idle
            }
        let left = since + limit - .now()
        guard left <= .nanoseconds(0) else { return schedule(context, in: left) }
        switch phase {
        case .waiting: context.close(promise: nil)
        case .receiving:
            answer(
                Problem(
                    .requestTimeout, "request_timeout",
                    "the request did not arrive within \(limits.request.nanoseconds / 1_000_000_000) s"),
                context)
        case .answering:
            guard let unwritableSince else { return schedule(context, in: limits.idle) }
            let left = unwritableSince + limits.idle - .now()
            if left > .nanoseconds(0) { schedule(context, in: left) } else { context.close(promise: nil) }
        }
    }
}
