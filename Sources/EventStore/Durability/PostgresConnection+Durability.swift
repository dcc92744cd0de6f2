import BlockingIO
package import LedgerCore
package import Postgres

extension PostgresConnection {
    /// The end of the log, once everything up to there has the level that the ledger demands.
    /// - Throws: ``NotConfirmed`` where the standbys do not answer within `patience`.
    package nonisolated func durableHead(patience: Duration = .seconds(5)) async throws -> Position {
        try await withTimeLimit(patience, orThrow: NotConfirmed(waited: patience)) {
            let row = try await self.query("SELECT durable_position(), demanded_durability() = 'quorum'").only()
            if try row.decode(1) { try await self.requireStandbys() }
            return try row.decode(0)
        }
    }

    /// The end of the log, once there are events after `position` that have the level that the
    /// ledger demands, or after a fifth of a second.
    /// - Parameter interval: how often the server looks for events.
    /// - Throws: ``NotConfirmed`` where the standbys do not answer within `patience`.
    package nonisolated func awaitDurableEvents(
        after position: Position, every interval: Duration, patience: Duration = .seconds(5)
    ) async throws -> Position {
        try await withTimeLimit(patience, orThrow: NotConfirmed(waited: patience)) {
            let row = try await self.query(
                """
                SELECT head, head > $1 AND demanded_durability() = 'quorum'
                  FROM await_durable_events($1, '200 ms', make_interval(secs => $2)) AS head
                """, position, interval / .seconds(1)
            ).only()
            if try row.decode(1) { try await self.requireStandbys() }
            return try row.decode(0)
        }
    }

    /// Where the log ends, once all of it has reached the level quorum.
    /// - Throws: ``NotConfirmed`` where the standbys do not answer within `patience`.
    nonisolated func quorumHead(patience: Duration) async throws -> Place {
        try await withTimeLimit(patience, orThrow: NotConfirmed(waited: patience)) {
            let text: String = try await self.query("SELECT durable_place('quorum')").only().decode(0)
            guard let place = Place(text) else { throw PostgresError.unexpected("\(text) is no place") }
            try await self.requireStandbys()
            return place
        }
    }

    /// Makes sure that the commit before, which waited for the standbys, was confirmed by them.
    ///
    /// Whoever empties `synchronous_standby_names`, as Patroni does where no standby is left and it
    /// is not strict, lets everybody go who waits, without a warning. The postmaster tells a
    /// session of the change before the process that lets it go, and the session reads the new
    /// settings before its next statement.
    private nonisolated func requireStandbys() async throws {
        guard try await hasStandbys() else {
            throw NotConfirmed(waited: .zero, reason: Self.withoutStandbys)
        }
    }

    private nonisolated func hasStandbys() async throws -> Bool {
        try await query("SELECT current_setting('synchronous_standby_names') <> ''").only().decode(0)
    }

    /// The answers to an append that has just committed here. If the server has ceased to wait for
    /// standbys meanwhile, their level is `local`.
    /// - Throws: ``NotDurable`` where the ledger demands more than that; a ``PostgresError`` of
    ///   unknown outcome where the server cannot be asked.
    nonisolated func confirmed(_ answers: [AppendAnswer]) async throws -> [AppendAnswer] {
        guard answers.claimQuorum else { return answers }
        let demanded: Durability
        do {
            if try await hasStandbys() { return answers }
            demanded = try await demandedDurability()
        } catch {
            throw PostgresError.notReplicated(
                "the append is committed, and nobody knows whether a standby has it: \(error)")
        }
        var answers = answers
        answers.set(.local)
        if demanded == .quorum { throw NotDurable(answers: answers, reason: Self.withoutStandbys) }
        return answers
    }

    private static var withoutStandbys: String { "the server has ceased to wait for standbys" }

    /// What the ledger demands now.
    nonisolated func demandedDurability() async throws -> Durability {
        // A server that does not answer would not cancel the question either.
        let question = PostgresStatement("SELECT demanded_durability()", endsByClosing: true)
        return try Durability(column: try await query(question).only().decode(0))
    }
}
