import BlockingIO

/// Asks a Sentinel once a second whether a connection still leads to the master.
///
/// A server that was demoted still takes PUBLISH and SUBSCRIBE, without an error, and what is
/// published there reaches nobody. Usually the Sentinels end its connections. If they cannot reach
/// it while we can, only this question shows it. As long as no Sentinel answers, the connection
/// stays.
struct MasterWatch {
    private let sentinels: RedisSentinels?
    private var place = 0
    private var sentinel: BlockingRedisConnection?
    private(set) var nextLook = ContinuousClock.now

    private static let interval = Duration.seconds(1)
    /// How long a look may delay its caller.
    private static let limit = Duration.milliseconds(500)

    init(_ configuration: RedisConfiguration) {
        if case .master(let sentinels) = configuration.address { self.sentinels = sentinels } else { sentinels = nil }
    }

    /// Whether there is anything to watch.
    var isNeeded: Bool { sentinels != nil }

    /// Whether a Sentinel names another server than that of `connection`. Without a look that is
    /// due it returns false.
    /// - Throws: ``RedisError/Kind/cancelled`` only.
    mutating func hasMoved(
        from connection: BlockingRedisConnection, interrupt: Interrupt, cancellation: Cancellation
    ) throws(RedisError) -> Bool {
        guard let sentinels, nextLook <= .now else { return false }
        defer { nextLook = .now.advanced(by: Self.interval) }
        do throws(RedisError) {
            let asked: BlockingRedisConnection
            if let sentinel {
                asked = sentinel
            } else {
                asked = try BlockingRedisConnection.open(
                    sentinels.configuration(of: sentinels.places[place], timeout: Self.limit),
                    interrupt: interrupt, cancellation: cancellation)
            }
            sentinel = asked
            let master = try asked.master(of: sentinels, within: Self.limit, cancellation: cancellation)
            return master.map { $0 != connection.server } ?? false
        } catch {
            if error.kind == .cancelled { throw error }
            // The next look asks the next one.
            sentinel = nil
            place = (place + 1) % sentinels.places.count
            return false
        }
    }
}
