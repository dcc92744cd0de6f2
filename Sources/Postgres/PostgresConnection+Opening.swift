import BlockingIO

extension PostgresConnection {
    /// Begins a session with a server that will do.
    func open() throws(PostgresError) {
        let address = try ConnectionString(configuration.url)
        while true {
            do throws(PostgresError) {
                return try openOnce(address)
            } catch {
                // Another server leads since this one was asked.
                guard error.isOvertaken else { throw error }
            }
        }
    }

    private func openOnce(_ address: ConnectionString) throws(PostgresError) {
        let lead = configuration.leading?.lead
        // libpq tries the hosts in their order, and a server that was stopped keeps it waiting.
        if address.leadsToPrimary, let host = lead?.host {
            do throws(PostgresError) {
                return try open(host: host, changes: lead?.changes)
            } catch {
                guard !error.isOvertaken, !error.isPermanent else { throw error }
                // It leads no more, and libpq finds another.
            }
        }
        do throws(PostgresError) {
            try open(host: nil, changes: lead?.changes)
        } catch {
            // libpq takes the first host that accepts writes, and an old leader does.
            guard error.isLeftBehind else { throw error }
            for host in address.hosts.indices {
                do throws(PostgresError) {
                    return try open(host: host, changes: lead?.changes)
                } catch {
                    // The first error is the one to report.
                    if error.isOvertaken { throw error }
                }
            }
            close()
            throw error
        }
    }

    /// Asks a host who it is.
    /// - Parameter limit: how long to wait for the connection; `nil` for as long as libpq takes.
    func survey(_ host: Int, within limit: Duration?) throws(PostgresError) {
        try open(host: host, changes: configuration.leading?.changes, isSurvey: true, within: limit)
    }

    /// - Parameters:
    ///   - host: the index of the host to connect to, of those that the address names; `nil` for
    ///     the first one that will do.
    ///   - changes: how often another server had taken the lead when this one was chosen.
    ///   - isSurvey: whether any server will do, which is only asked who it is.
    /// - Throws: an error after which nothing was sent for the caller.
    private func open(
        host: Int?, changes: Int?, isSurvey: Bool = false, within limit: Duration? = nil
    ) throws(PostgresError) {
        let libpq = try LibpqConnection(
            configuration, host: host, isSurvey: isSurvey, changes: changes, within: limit, interrupt: interrupt)
        try configuration.requirement?.checkServer(libpq)
        self.libpq = libpq
        var script =
            configuration.sessionStatements + configuration.sessionSettings.map { "SET \($0.name) = \($0.value)" }
        if let requirement = configuration.requirement { script.append(requirement.question) }
        guard !script.isEmpty else { return }
        let answer: LibpqResult
        do throws(PostgresError) {
            // A server that says nothing would not cancel the question either.
            answer = try run(
                script: script.joined(separator: "; "), isCancellable: !isSurvey, Cancellation(ringing: interrupt))
        } catch {
            guard error.kind == .connectionLost else { throw error }
            throw .cannotConnect(error.message, isOvertaken: error.isOvertaken)
        }
        guard let requirement = configuration.requirement else { return }
        let timeline = try requirement.checkSession(libpq, answer)
        guard let leading = configuration.leading else { return }
        if isSurvey, timeline == nil, let host { leading.isStandby(host) }
        libpq.server = try SessionServer(timeline, of: leading, at: libpq.host, isSurvey: isSurvey)
    }
}
