import BlockingIO

extension BlockingRedisConnection {
    /// Connects to the configured server or, if Sentinels are configured, to the master that they
    /// name. A server that they name and that does not call itself a master is not used: it was
    /// demoted, or is not promoted yet.
    static func open(
        _ configuration: RedisConfiguration, interrupt: Interrupt, cancellation: Cancellation
    ) throws(RedisError) -> BlockingRedisConnection {
        switch configuration.address {
        case .server(let server):
            return try BlockingRedisConnection(
                to: server, configuration, interrupt: interrupt, cancellation: cancellation)
        case .master(let sentinels):
            var problems: [String] = []
            for place in sentinels.places {
                do throws(RedisError) {
                    let sentinel = try BlockingRedisConnection.open(
                        sentinels.configuration(of: place, timeout: configuration.connectTimeout),
                        interrupt: interrupt, cancellation: cancellation)
                    let server = try sentinel.master(
                        of: sentinels, within: configuration.connectTimeout, cancellation: cancellation)
                    guard let server else {
                        problems.append("the Sentinel \(place) knows no master of this name")
                        continue
                    }
                    let made = try BlockingRedisConnection(
                        to: server, configuration, interrupt: interrupt, cancellation: cancellation)
                    let role = try made.exchange(
                        [RedisCommand("ROLE")], within: configuration.connectTimeout, cancellation: cancellation)[0]
                    if try role.get().array?.first?.string == "master" { return made }
                    problems.append("the Sentinel \(place) names \(server), which is not a master")
                } catch {
                    // A wrong password, for example, is wrong at every server.
                    guard error.isRetriable else { throw error }
                    problems.append(error.message)
                }
            }
            throw RedisError(
                .connection, "no Sentinel leads to the master \(sentinels.master): \(problems.joined(separator: "; "))")
        }
    }

    /// What a Sentinel answers: where the master is; `nil` if it knows none of this name.
    func master(
        of sentinels: RedisSentinels, within limit: Duration, cancellation: Cancellation
    ) throws(RedisError) -> RedisConfiguration.Server? {
        let question = RedisCommand("SENTINEL", "get-master-addr-by-name", sentinels.master)
        let answer = try exchange([question], within: limit, cancellation: cancellation)[0].get()
        guard let parts = answer.array, parts.count == 2, let host = parts[0].string,
            let port = parts[1].string.flatMap(UInt16.init)
        else { return nil }
        return .tcp(host: host, port: port)
    }
}
