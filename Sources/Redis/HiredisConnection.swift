import CHiredis
import Glibc
import Texts

/// A non-blocking hiredis context: the only file of this module that sees raw pointers.
///
/// hiredis: a context is not thread-safe, and not bound to one thread either. `HiredisConnection`
/// is not `Sendable`, is created inside an actor and never leaves it, so the compiler admits one
/// thread at a time; `deinit` runs when nobody holds it.
///
/// hiredis connects, reads and parses. It does not write: its `write(2)` raises SIGPIPE when the
/// server has gone, and a library must not ask its process to ignore signals.
final class HiredisConnection {
    // Never null, owned by this object alone, freed in deinit and nowhere else.
    private let context: UnsafeMutablePointer<redisContext>
    private var lastPattern = "none yet"

    /// Starts to connect. The descriptor becomes writable when that has finished; then
    /// ``connectFault()`` returns the outcome.
    init(connectingTo server: RedisConfiguration.Server) throws(RedisError) {
        // The strings are copied by hiredis before it returns.
        let made =
            switch server {
            case .tcp(let host, let port): redisConnectNonBlock(host, Int32(port))
            case .unixSocket(let path): redisConnectUnixNonBlock(path)
            }
        guard let made else { throw RedisError(.connection, "hiredis: out of memory") }
        guard made.pointee.err == 0 else {
            defer { redisFree(made) }
            throw Self.fault(of: made)
        }
        context = made
        // hiredis 0.14 does not set the flag itself. A child process must not keep a subscription
        // alive.
        _ = fcntl(made.pointee.fd, F_SETFD, FD_CLOEXEC)
        if case .tcp = server { _ = redisEnableKeepAlive(made) }
    }

    deinit { redisFree(context) }

    var descriptor: Int32 { context.pointee.fd }

    /// Why connecting failed, once the descriptor is ready; `nil` when it succeeded.
    func connectFault() -> RedisError? {
        var code: Int32 = 0
        var size = socklen_t(MemoryLayout<Int32>.size)
        if getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) != 0 { code = errno }
        return code == 0 ? nil : RedisError(.connection, String(cString: strerror(code)))
    }

    /// - Parameter user: a name or a number.
    /// - Throws: ``RedisError`` if the process that listens on this Unix socket belongs to another
    ///   user.
    func requirePeer(_ user: String) throws(RedisError) {
        // A struct ucred: the ids of the process, its user and its group.
        var credentials: (pid: pid_t, uid: uid_t, gid: gid_t) = (0, 0, 0)
        var size = socklen_t(MemoryLayout.size(ofValue: credentials))
        guard getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &credentials, &size) == 0 else {
            throw RedisError(
                .connection,
                "the owner of the listening process cannot be determined: \(String(cString: strerror(errno)))")
        }
        guard user == String(credentials.uid) || user == Self.name(of: credentials.uid) else {
            throw RedisError(.connection, "user id \(credentials.uid) listens there, and not \(user): nothing was sent")
        }
    }

    private static func name(of user: uid_t) -> String? {
        var (entry, found) = (passwd(), UnsafeMutablePointer<passwd>?.none)
        // The strings of the entry are in the buffer, and are copied before it is freed.
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16 << 10) { buffer in
            guard getpwuid_r(user, &entry, buffer.baseAddress!, buffer.count, &found) == 0, found != nil else {
                return nil
            }
            return String(cString: entry.pw_name)
        }
    }

    /// Writes as many of `bytes` as the socket accepts now.
    /// - Returns: how many bytes; 0 when the socket is full.
    func write(_ bytes: ArraySlice<UInt8>) throws(RedisError) -> Int {
        while true {
            // The pointer is used only within the call.
            let count = bytes.withUnsafeBytes { Glibc.send(descriptor, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL)) }
            if count >= 0 { return count }
            switch errno {
            case EINTR: continue
            case EAGAIN: return 0
            default: throw RedisError(.connection, String(cString: strerror(errno)))
            }
        }
    }

    /// The most bytes of an incomplete reply that the parser holds. Redis lets everyone who may
    /// publish send 512 MiB.
    private static let longestReply = 64 << 20

    /// Moves arrived bytes, at most 16 KiB, from the socket to the parser.
    /// - Returns: false when nothing had arrived.
    @discardableResult
    func fill() throws(RedisError) -> Bool {
        // hiredis appends the bytes to the parser's buffer, and does not return their number.
        let before = context.pointee.reader.pointee.len
        guard redisBufferRead(context) == REDIS_OK else { throw Self.fault(of: context) }
        guard context.pointee.reader.pointee.len <= Self.longestReply else {
            throw RedisError(.protocolViolation, "a reply of more than \(Self.longestReply >> 20) MiB")
        }
        return context.pointee.reader.pointee.len > before
    }

    /// Makes the socket readable only when this many bytes have arrived, or the connection has
    /// ended: one wake-up for many small replies.
    func expect(bytes: Int) {
        var bytes = Int32(bytes)
        // If the system refuses this, we only wake more often.
        _ = setsockopt(descriptor, SOL_SOCKET, SO_RCVLOWAT, &bytes, socklen_t(MemoryLayout<Int32>.size))
    }

    /// Takes the next whole reply from the parser; `nil` when it needs more bytes.
    func nextReply() throws(RedisError) -> RedisValue? { try withNextReply { Self.value($0) } }

    /// The same, if only an error matters.
    func nextOutcome() throws(RedisError) -> Outcome? {
        try withNextReply { $0.type == REDIS_REPLY_ERROR ? .refused(RedisError(.server, Self.text($0))) : .done }
    }

    enum Outcome {
        case done
        case refused(RedisError)

        var error: RedisError? {
            if case .refused(let error) = self { error } else { nil }
        }
    }

    /// The same on a subscription. A message is copied once, without an array of values in between.
    func nextPush() throws(RedisError) -> Push? {
        try withNextReply { reply in
            let elements = UnsafeBufferPointer(
                start: reply.element, count: reply.type == REDIS_REPLY_ARRAY ? reply.elements : 0)
            // hiredis gives only whole replies: none of the pointers is null.
            guard elements.allSatisfy({ $0!.pointee.type == REDIS_REPLY_STRING }) else {
                return .other(Self.value(reply))
            }
            switch elements.count {
            case 3 where Self.holds(elements[0]!.pointee, "message"):
                return .message(
                    channel: ExactText(Self.text(elements[1]!.pointee)), pattern: nil,
                    payload: Array(Self.bytes(elements[2]!.pointee)))
            case 4 where Self.holds(elements[0]!.pointee, "pmessage"):
                // Consecutive messages usually match the same pattern.
                if !Self.holds(elements[1]!.pointee, lastPattern) { lastPattern = Self.text(elements[1]!.pointee) }
                return .message(
                    channel: ExactText(Self.text(elements[2]!.pointee)), pattern: ExactText(lastPattern),
                    payload: Array(Self.bytes(elements[3]!.pointee)))
            default: return .other(Self.value(reply))
            }
        }
    }

    /// - Parameter body: copies what it needs of the reply, which is freed when it returns.
    private func withNextReply<Value>(_ body: (redisReply) -> Value) throws(RedisError) -> Value? {
        var raw: UnsafeMutableRawPointer?
        guard redisGetReplyFromReader(context, &raw) == REDIS_OK else { throw Self.fault(of: context) }
        guard let raw else { return nil }
        defer { freeReplyObject(raw) }
        // The reader was made with hiredis's own functions, so that its objects are redisReply.
        return body(raw.assumingMemoryBound(to: redisReply.self).pointee)
    }

    /// Copies a reply: nothing of the result points into hiredis.
    private static func value(_ reply: redisReply) -> RedisValue {
        switch reply.type {
        case REDIS_REPLY_STATUS: .simpleString(text(reply))
        case REDIS_REPLY_ERROR: .error(text(reply))
        case REDIS_REPLY_INTEGER: .integer(reply.integer)
        case REDIS_REPLY_STRING: .bulk(Array(bytes(reply)))
        case REDIS_REPLY_ARRAY:
            // hiredis gives only whole replies: `elements` pointers, none of them null.
            .array((0..<reply.elements).map { value(reply.element[$0]!.pointee) })
        default: .null
        }
    }

    /// The view is valid until the reply is freed: callers copy at once.
    private static func bytes(_ reply: redisReply) -> UnsafeRawBufferPointer {
        UnsafeRawBufferPointer(start: reply.str, count: reply.len)
    }

    private static func holds(_ reply: redisReply, _ text: String) -> Bool {
        var text = text
        return text.withUTF8 { $0.count == reply.len && memcmp($0.baseAddress!, reply.str, reply.len) == 0 }
    }

    private static func text(_ reply: redisReply) -> String { String(decoding: bytes(reply), as: UTF8.self) }

    private static func fault(of context: UnsafeMutablePointer<redisContext>) -> RedisError {
        // A C array of characters that ends with a zero byte.
        let text = withUnsafeBytes(of: context.pointee.errstr) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        return RedisError(context.pointee.err == REDIS_ERR_PROTOCOL ? .protocolViolation : .connection, text)
    }
}

/// What a server sends on a subscription.
enum Push {
    case message(channel: ExactText, pattern: ExactText?, payload: [UInt8])
    /// Acknowledgements, replies to PING, errors.
    case other(RedisValue)
}
