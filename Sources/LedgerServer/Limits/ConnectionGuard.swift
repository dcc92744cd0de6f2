import HTTPTypes
import NIOCore
import NIOHTTP1

/// Watches over one connection: tells its ``ConnectionState`` what comes and what goes, and does
/// what that says.
///
/// It sees requests before anybody else does, as they stand on the wire. One timer a connection
/// looks at what has become of it and sets itself anew: nothing is scheduled or cancelled for a
/// request. It belongs to the connection's event loop, as all channel handlers do.
final class ConnectionGuard: ChannelDuplexHandler, RemovableChannelHandler {
    typealias InboundIn = HTTPServerRequestPart
    typealias InboundOut = HTTPServerRequestPart
    typealias OutboundIn = HTTPServerResponsePart
    typealias OutboundOut = HTTPServerResponsePart

    private let limits: ConnectionLimits
    /// Whether there is one connection too many, and this is it.
    private let isTooMany: Bool
    private var state: ConnectionState
    private var timer: Scheduled<Void>?
    /// Why nothing more is taken, for who is told so.
    private var problem: Problem?
    private var hasReportedCutOff = false
    /// Whether the head's first line has come, of a head that is not whole.
    private var hasFirstLine = false
    /// Whether the last request waits to be told to go on.
    private var waitsForContinue = false
    /// Whether the last request is in HTTP/1.0, which knows no chunks.
    private var isHTTP10 = false
    /// What had arrived at the client when it was last looked at.
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
                .unavailable("there are as many connections as there may be; try again", code: "too_many_connections"),
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

    /// Whoever reads the request would take the end of what comes for the end of the body.
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

    /// Bytes have come, before any of them can be understood.
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
            // Fields behind the body are of no use here: nothing is looked for in them.
            if state.endArrived(at: Self.now) { context.fireChannelRead(wrapInboundOut(.end(nil))) }
        }
    }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        switch error {
        case let error as HTTPParserError:
            refuse(.unparsable(error, isInFirstLine: !hasFirstLine, limits.headerBytes), context)
        // What comes behind something that cannot be parsed.
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
                    // Who waits to be told to go on may send its body now, or the next request:
                    // nobody could tell.
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

    /// Whoever has nothing more to do closes the connection, or our side of it. Where an answer is
    /// on its way out, that has time until the client had a chance to read it.
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

    /// A client that reads slowly keeps what it reads from waiting for ever.
    private func seeProgress(_ context: ChannelHandlerContext, at now: Duration) {
        guard state.isUnread, let bytes = AcknowledgedBytes.of(context.channel), bytes > acknowledged else { return }
        state.arrived(bytes: Int(clamping: bytes - acknowledged), at: now)
        acknowledged = bytes
    }

    // MARK: What is to be done

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

    /// In the place of an answer.
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

    /// Writes the end of the last answer. Where the client has closed its side, closing ours would
    /// drop what has not gone out.
    private func finish(with end: NIOAny, _ promise: EventLoopPromise<Void>?, _ context: ChannelHandlerContext) {
        let out = context.eventLoop.makePromise(of: Void.self)
        out.futureResult.cascade(to: promise)
        out.futureResult.assumeIsolated().whenComplete { _ in self.drained(context) }
        context.writeAndFlush(end, promise: out)
        rescheduleCheck(context)
    }

    /// The other side may still be sending: were the connection cut while bytes wait to be read, it
    /// would lose our answer.
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

    /// Something is due earlier than the timer knows.
    private func rescheduleCheck(_ context: ChannelHandlerContext) {
        timer?.cancel()
        checkDeadline(context)
    }
}

/// A request will not come to its end: the client has gone, has said something else, or took too
/// long.
struct RequestCutOff: Error {}
