import BlockingIO
package import LedgerCore
import Postgres

extension EventStore {
    /// What the ledger demands now.
    package func demandedDurability() async throws -> Durability {
        try await pool.withConnection { try await $0.demandedDurability() }
    }

    /// Makes the ledger demand a level of each event from now on.
    /// - Parameter limit: how long to wait for the standbys, which get what is in the log already.
    /// - Throws: ``NotConfirmed`` where they do not answer in time: then the ledger demands what it
    ///   did before, or quorum, as ``demandedDurability()`` tells.
    package func demand(_ level: Durability, within limit: Duration = .seconds(10)) async throws {
        do {
            try await withTimeLimit(limit, orThrow: NotConfirmed(waited: limit)) {
                _ = try await pool.withConnection {
                    try await $0.query("SELECT demand_durability($1)", level.rawValue)
                }
            }
        } catch  where error is NotConfirmed || (error as? PostgresError)?.sqlState == .lockNotAvailable {
            var late = NotConfirmed(waited: limit)
            let holder = try await pool.withConnection {
                try LogLockHolder(try await $0.query(LogLockHolder.statement))
            }
            if let holder {
                late.reason = """
                    \(holder.name) has the log, and may wait for standbys itself. To end it: \(holder.ending). \
                    Its caller is told that the outcome is unknown, and sends it again. Where no standby comes \
                    back, let go all that wait: take the names out of synchronous_standby_names, and repeat this
                    """
            }
            throw late
        }
        demanded.learned(level)
    }

    /// Appends, and returns when what was written has reached the level that the caller wishes.
    ///
    /// In a ledger that demands quorum the commit itself waits for the standbys, and nothing is
    /// left to do. In others the commit of a session may not wait, as its settings say. Then this
    /// waits for the standbys, together with others.
    /// - Parameters:
    ///   - limit: how long to wait for the level, once the events are written.
    ///   - append: sends the requests. It is called again, with the same event ids, where it is not
    ///     sure that the server that confirms is the one that has written.
    /// - Throws: ``NotDurable`` where the level is not reached in time; ``NotConfirmed`` where the
    ///   standbys do not even answer before the append: nothing was written.
    func durably(
        atLeast wish: Durability, within limit: Duration, _ append: () async throws -> [AppendAnswer]
    ) async throws -> [AppendAnswer] {
        guard wish == .quorum else { return try await append() }
        // The place that is confirmed has the epoch from before the append. If another epoch begins
        // meanwhile, the events may be gone with the server that had them.
        var epoch = try await confirmations.epoch(within: limit)
        var answers = try await append()
        let first = answers
        let deadline = ContinuousClock.now.advanced(by: limit)
        while let last = answers.lastPositionBelowQuorum {
            let remaining = max(.zero, ContinuousClock.now.duration(to: deadline))
            do {
                do {
                    try await confirmations.confirm(Place(last, epoch: epoch), within: remaining)
                    answers.set(.quorum)
                } catch let error as HistoryChanged where ContinuousClock.now < deadline {
                    epoch = error.head.epoch
                    answers = try await append()
                    // What this call has written itself is no duplicate to the caller.
                    answers.keepNew(of: first)
                }
            } catch  where error is CancellationError || error is Refusal || error is OutcomeUnknown {
                throw error
            } catch {
                // Also what kept it from being sent again: it was written before.
                throw NotDurable(answers: answers, reason: "\(error)")
            }
        }
        return answers
    }
}

extension [AppendAnswer] {
    /// The last position of an event that has not reached quorum.
    fileprivate var lastPositionBelowQuorum: Position? {
        lazy.compactMap { try? $0.get().last }.filter { $0.durability < .quorum }.map(\.position).max()
    }

    /// Takes events that an earlier answer to the same requests had as new for new here too.
    fileprivate mutating func keepNew(of earlier: [AppendAnswer]) {
        for (index, before) in zip(indices, earlier) {
            guard case .success(let old) = before, case .success(var events) = self[index] else { continue }
            for place in events.indices where !old[place].isDuplicate { events[place].isDuplicate = false }
            self[index] = .success(events)
        }
    }

    /// Whether a commit has waited for the standbys.
    var claimQuorum: Bool { contains { (try? $0.get().last?.durability) == .quorum } }

    mutating func set(_ level: Durability) {
        for index in indices {
            self[index] = self[index].map { events in
                events.map { event in
                    var event = event
                    event.durability = level
                    return event
                }
            }
        }
    }
}

/// The events are in the log, and have not reached the level of durability that was asked for: a
/// failover may still lose them. Sending them again with the same event ids waits on.
package struct NotDurable: Error, Sendable, CustomStringConvertible {
    /// What was written, as far as the requests were answered.
    package let answers: [AppendAnswer]
    package let reason: String

    package var description: String {
        "the events are written, and may still be lost in a failover; send them again with the same event ids to wait "
            + "on: \(reason)"
    }
}

extension NotDurable: ExitStatusProviding {
    package var exitStatus: ExitStatus { .cannotConnect }
}

extension NotConfirmed: ExitStatusProviding {
    package var exitStatus: ExitStatus { .cannotConnect }
}

extension HistoryChanged: ExitStatusProviding {
    package var exitStatus: ExitStatus { .cannotConnect }
}
