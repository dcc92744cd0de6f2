import LedgerSettings
import LedgerTesting
import NIOCore
import NIOEmbedded
import NIOHTTP1
import Testing

@testable import LedgerServer

@Suite("connections that lose their place") struct DepartureTests {
    private let loop = EmbeddedEventLoop()

    /// A connection as the service sets it up, but with nothing that answers requests.
    private func connection(_ count: ConnectionCount) throws -> (channel: EmbeddedChannel, entry: ConnectionCount.Entry)
    {
        let channel = EmbeddedChannel(handler: nil, loop: loop)
        let entry = count.enter(channel)
        let pipeline = channel.pipeline.syncOperations
        try pipeline.addHandler(NeverReading())
        try pipeline.addHandler(ConnectionCloser(isDropped: entry == .dropped))
        try pipeline.configureHTTPServerPipeline(withPipeliningAssistance: false, withErrorHandling: false)
        try pipeline.addHandler(ConnectionGuard(ConnectionLimits(HTTPSettings()), isTooMany: entry == .tooMany))
        channel.connect(to: try SocketAddress(ipAddress: "127.0.0.1", port: 1), promise: nil)
        loop.run()
        return (channel, entry)
    }

    @Test("a displaced connection is closed at once, even with an answer on its way") func displaced() throws {
        let count = ConnectionCount(limit: 1)
        for text in ["", "GET /livez", "nonsense\r\n\r\n", RawRequest.livez] {
            let (first, entry) = try connection(count)
            #expect(entry == .taken)
            _ = try? first.writeInbound(ByteBuffer(string: text))
            #expect(first.isActive, "\(text)")
            let (second, secondEntry) = try connection(count)
            #expect(secondEntry == .taken && second.isActive)
            #expect(!first.isActive, "it stays open after \(text)")
            #expect(count.open == 1 && count.leaving == 0)
            second.close(promise: nil)
            loop.run()
            #expect(count.open == 0)
        }
    }

    @Test("connections without a place are limited, whatever they do") func bound() throws {
        let count = ConnectionCount(limit: 2)
        let token = AccessToken.random()
        let known = try (0..<2).map { _ in try connection(count).channel }
        for channel in known { count.keepPlace(channel, token) }
        let others = try (0..<500).map { _ in try connection(count) }
        #expect(others.filter { $0.channel.isActive }.count == count.leaving)
        #expect(count.leaving <= ConnectionCount.maxLeaving && count.open == 2)
        // The newest get an answer, because the oldest are closed for them.
        #expect(others.filter { $0.entry != .tooMany }.isEmpty && others.last?.channel.isActive == true)
        #expect(known.filter { !$0.isActive }.isEmpty)
        // If they are slow to close, no more are accepted.
        let stuck = ConnectionCount(limit: 1)
        let channels = (0..<200).map { _ in EmbeddedChannel(handler: nil, loop: loop) }
        let entries = channels.map { stuck.enter($0) }
        #expect(entries.filter { $0 == .taken }.count == 1 + ConnectionCount.maxLeaving)
        #expect(entries.last == .dropped && stuck.leaving == ConnectionCount.maxLeaving)
        let (dropped, entry) = try connection(stuck)
        #expect(entry == .dropped && !dropped.isActive)
    }

    @Test("a connection keeps its place while its token is valid") func revoked() async throws {
        let count = ConnectionCount(limit: 3)
        let (good, bad) = (AccessToken.random(), AccessToken.random())
        let channels = (0..<3).map { _ in NIOAsyncTestingChannel() }
        for (channel, token) in zip(channels, [good, bad, bad]) {
            #expect(count.enter(channel) == .taken)
            count.keepPlace(channel, token)
        }
        await count.review { _ in true }
        #expect(count.enter(NIOAsyncTestingChannel()) == .tooMany)
        struct Unknown: Error {}
        await count.review { _ in throw Unknown() }
        #expect(count.enter(NIOAsyncTestingChannel()) == .tooMany)
        await count.review { $0.id == good.id }
        // A connection that sends a valid token again keeps its place.
        count.keepPlace(channels[1], good)
        #expect(count.enter(NIOAsyncTestingChannel()) == .taken)
    }
}

/// A client that neither reads nor closes its output.
private final class NeverReading: ChannelOutboundHandler {
    typealias OutboundIn = ByteBuffer

    func flush(context: ChannelHandlerContext) {}

    func close(context: ChannelHandlerContext, mode: CloseMode, promise: EventLoopPromise<Void>?) {
        if mode == .output { promise?.succeed() } else { context.close(mode: mode, promise: promise) }
    }
}
