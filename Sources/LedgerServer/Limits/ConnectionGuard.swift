import HTTPTypes
import NIOCore
import NIOHTTP1

/// Guards one connection: tells its ``ConnectionState`` what arrives and what is sent, and performs
/// the actions that the state returns.
///
/// It sees requests before any other part does, as they were sent. Each connection has a single
/// timer that checks its deadline and sets itself again, so a request schedules and cancels
/// nothing. Like all channel handlers, it belongs to the connection's event loop.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private let limits: ConnectionLimits
    /// Whether there is no place for this connection.
    private let isTooMany: Bool
    private var state: ConnectionState
    private var timer: Scheduled<Void>?
    /// Why the connection takes no more requests, to be sent to the client.
    private var problem: Problem?
    private var hasReportedCutOff = false
    /// Whether the first line of an incomplete head has arrived.
    private var hasFirstLine = false
    /// Whether the client waits for `100 Continue` before it sends the last request's body.
    private var waitsForContinue = false
    /// Whether the last request is in HTTP/1.0, which has no chunked encoding.
    private var isHTTP10 = false
    /// How many bytes the client had acknowledged at the last check.
    private var acknowledged: UInt64 = 0

    init(_ limits: ConnectionLimits, isTooMany: Bool) {
        self.limits = limits
        self.isTooMany = isTooMany
        state = ConnectionState(limits.state, at: Self.now)
    }

    private static var now: Duration { .nanoseconds(Int64(NIODeadline.now().uptimeNanoseconds)) }

    // MARK: The connection

    func channelActive(context: ChannelHandlerContext) {
        context.fireChannelActive()
        if isTooMany {
            refuse(
                .unavailable(
                    "the service has reached its limit of connections; try again", code: "too_many_connections"),
                context)
        } else {
            checkDeadline(context)
        }
    }

    func channelInactive(context: ChannelHandlerContext) {
        end()
        reportCutOff(context)
        context.fireChannelInactive()
    }

    func handlerRemoved(context: ChannelHandlerContext) { end() }

    private func end() {
        state.closed()
        timer?.cancel()
        timer = nil
    }

    /// Reports a request that was cut off. Otherwise its reader would take the end of the input for
    /// the end of the body.
    private func reportCutOff(_ context: ChannelHandlerContext) {
        guard state.isCutOff, !hasReportedCutOff else { return }
        hasReportedCutOff = true
        context.fireErrorCaught(RequestCutOff())
    }

    func userInboundEventTriggered(context: ChannelHandlerContext, event: Any) {
        switch event {
        case ChannelEvent.inputClosed as ChannelEvent:
            perform(state.inputClosed(at: Self.now), context)
            rescheduleCheck(context)
        case is ChannelShouldQuiesceEvent: perform(state.quiesce(at: Self.now), context)
        default: break
        }
        context.fireUserInboundEventTriggered(event)
    }

    // MARK: Requests

    /// Called for bytes before they are parsed.
    func bytesArrived(_ bytes: ByteBuffer) {
        state.bytesArrived(at: Self.now)
        hasFirstLine = hasFirstLine || bytes.readableBytesView.contains(UInt8(ascii: "\n"))
    }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        switch unwrapInboundIn(data) {
        case .head(var head):
            if let problem = head.normalize(headBytes: limits.headerBytes) { return refuse(problem, context) }
            guard
                state.headArrived(
                    isLast: head.isLast, isRead: [.GET, .HEAD, .OPTIONS].contains(head.method), body: head.bodyBytes,
                    at: Self.now)
            else { return }
            (isHTTP10, waitsForContinue) = (head.isHTTP10, head.waitsForContinue)
            context.fireChannelRead(wrapInboundOut(.head(head)))
        case .body(let bytes):
            waitsForContinue = false
            if state.bodyArrived(bytes: bytes.readableBytes) { context.fireChannelRead(data) }
        case .end:
            hasFirstLine = false
            // Trailer fields are dropped: the service uses none.
            if state.endArrived(at: Self.now) { context.fireChannelRead(wrapInboundOut(.end(nil))) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case let error as HTTPParserError:
            refuse(.unparsable(error, isInFirstLine: !hasFirstLine, limits.headerBytes), context)
        // Bytes after something that could not be parsed.
        case is ByteToMessageDecoderError: break
        default: context.fireErrorCaught(error)
        }
    }

    private func refuse(_ problem: Problem, _ context: ChannelHandlerContext) {
        self.problem = self.problem ?? problem
        perform(state.refused(at: Self.now), context)
    }

    // MARK: Answers

    func write(context: ChannelHandlerContext, data: NIOAny, promise: EventLoopPromise<Void>?) {
        switch unwrapOutboundIn(data) {
        case .head(let head) where head.status.code < 200:
            waitsForContinue = false
            context.write(data, promise: promise)
        case .head(var head):
            let isLast = state.isAnsweringLast
            guard
                let closes = state.answerBegan(
                    isStream: head.headers.first(name: "content-type") == EventStream.mediaType,
                    // A client that waits for `100 Continue` may now send its body or its next
                    // request, and nothing would tell the two apart.
                    closes: waitsForContinue || head.headers.first(name: "connection") == "close")
            else {
                promise?.fail(ChannelError.ioOnClosedChannel)
                return
            }
            if closes { head.headers.replaceOrAdd(name: "connection", value: "close") }
            if isLast, isHTTP10 { head.version = .http1_0 }
            context.write(wrapOutboundOut(.head(head)), promise: promise)
        case .body:
            guard state.takesAnswer else {
                promise?.fail(ChannelError.ioOnClosedChannel)
                return
            }
            context.write(data, promise: promise)
        case .end:
            guard state.takesAnswer else {
                promise?.fail(ChannelError.ioOnClosedChannel)
                return
            }
            let action = state.answerEnded(at: Self.now)
            guard action == .finish else {
                context.write(data, promise: promise)
                return perform(action, context)
            }
            finish(with: data, promise, context)
        }
    }

    /// Other handlers close the connection, or its output, when they are done. An answer on its way
    /// out keeps the time that the client has to read it.
    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        switch mode {
        case .output where state.isEnding: promise?.succeed()
        case .all where state.isEnding: context.channel.closeFuture.cascade(to: promise)
        default: context.close(mode: mode, promise: promise)
        }
    }

    func channelWritabilityChanged(context: ChannelHandlerContext) {
        state.becameWritable(context.channel.isWritable, at: Self.now)
        if state.isUnread { acknowledged = AcknowledgedBytes.of(context.channel) ?? 0 }
        context.fireChannelWritabilityChanged()
    }

    /// Reports to the state what the client has read, so that a slow reader is not cut off.
    private func seeProgress(_ context: ChannelHandlerContext, at now: Duration) {
        guard state.isUnread, let bytes = AcknowledgedBytes.of(context.channel), bytes > acknowledged else { return }
        state.arrived(bytes: Int(clamping: bytes - acknowledged), at: now)
        acknowledged = bytes
    }

    // MARK: Actions

    private func perform(_ action: ConnectionState.Action, _ context: ChannelHandlerContext) {
        switch action {
        case .none: return
        case .refuse(let reason):
            write(reason == .tooSlow ? tooSlow : problem ?? tooSlow, context)
            reportCutOff(context)
        case .finish: drained(context)
        case .cut: context.close(promise: nil)
        }
    }

    private var tooSlow: Problem {
        Problem(
            .requestTimeout, "request_timeout",
            "the request did not arrive within \(limits.state.request.components.seconds) s; send it in one go")
    }

    /// Writes a problem in place of an answer.
    private func write(_ problem: Problem, _ context: ChannelHandlerContext) {
        let body = ByteBuffer(bytes: problem.json(request: nil))
        var headers = HTTPHeaders()
        for field in problem.headers { headers.add(name: field.name.rawName, value: field.value) }
        headers.add(name: "Content-Type", value: "application/problem+json")
        headers.add(name: "Content-Length", value: "\(body.readableBytes)")
        headers.add(name: "Connection", value: "close")
        headers.add(name: "Date", value: HTTPDate.now)
        let status = HTTPResponseStatus(statusCode: problem.status.code, reasonPhrase: problem.status.reasonPhrase)
        context.write(
            wrapOutboundOut(.head(HTTPResponseHead(version: .http1_1, status: status, headers: headers))), promise: nil)
        context.write(wrapOutboundOut(.body(.byteBuffer(body))), promise: nil)
        finish(with: wrapOutboundOut(.end(nil)), nil, context)
    }

    /// Writes the end of the last answer and waits until it is sent. If the client has closed its
    /// side, closing this side earlier would drop what is not sent yet.
    private func finish(with end: NIOAny, _ promise: EventLoopPromise<Void>?, _ context: ChannelHandlerContext) {
        let out = context.eventLoop.makePromise(of: Void.self)
        out.futureResult.cascade(to: promise)
        out.futureResult.assumeIsolated().whenComplete { _ in self.drained(context) }
        context.writeAndFlush(end, promise: out)
        rescheduleCheck(context)
    }

    /// Closes the output only. The client may still be sending, and closing the connection with
    /// unread bytes would discard the answer.
    private func drained(_ context: ChannelHandlerContext) {
        state.drained(at: Self.now)
        context.close(mode: .output, promise: nil)
        rescheduleCheck(context)
    }

    // MARK: The timer

    private func checkDeadline(_ context: ChannelHandlerContext) {
        let now = Self.now
        seeProgress(context, at: now)
        let (action, next) = state.check(at: now)
        guard action == .none else { return perform(action, context) }
        guard let next else { return }
        let wait = TimeAmount(max(.zero, next - now))
        timer = context.eventLoop.assumeIsolated().scheduleTask(in: wait) { self.checkDeadline(context) }
    }

    /// Something may be due earlier than the timer fires.
    private func rescheduleCheck(_ context: ChannelHandlerContext) {
        timer?.cancel()
        checkDeadline(context)
    }
}

/// A request that will never be complete: the client has gone, sent something invalid, or took too
/// long.
struct RequestCutOff: Error {}
