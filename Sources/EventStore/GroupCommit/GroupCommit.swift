package import LedgerCore
import Postgres

/// Commits the requests of concurrent callers together: the requests that arrive while one commit
/// is in flight share the next.
///
/// Each request keeps its own atomicity, answer and refusal. No timer delays one: a lone caller is
/// served at once. Large requests travel in their own lane, so that small ones do not wait while
/// large ones are sent and checked.
///
/// Two requests for one job are written in order if the second is made after the first was
/// answered. Requests are served only while ``run()`` runs, or inside
/// ``EventStore/withGroupCommit(_:_:)``.
package final class GroupCommit: Sendable {
    package struct Settings: Sendable {
        /// The connections for small requests. Large requests have one more.
        package var connections = 1
        /// The most requests, and the most bytes, that each lane accepts at a time. Further callers
        /// wait, in order, until there is room.
        package var mostRequests = 10_000
        package var mostBytes = 64 << 20
        /// A request with more events, or more bytes, is large.
        package var smallEvents = 50
        package var smallBytes = 64 << 10
        /// How long a request may wait for a server that is away or busy, or behind a call that is
        /// not answered.
        package var timeout = Duration.seconds(10)
        /// How long a caller waits for the answer of a call that was sent. The call itself goes on.
        /// The ledger gives a call 10 s to lock the log and 5 s to append.
        package var callTimeout = Duration.seconds(30)
        /// How long accepted requests are still served after ``GroupCommit/stop()``.
        package var grace = Duration.seconds(10)

        package init() {}
    }

    package struct Status: Sendable, Equatable {
        package struct Lane: Sendable, Equatable {
            /// Queued requests within the bounds, and their bytes.
            package var accepted: Int
            package var acceptedBytes: Int
            /// Requests whose callers wait for room in the queue.
            package var waiting: Int
            /// Requests that were sent and have no answer yet.
            package var inFlight: Int
            /// The calls that the server has answered so far.
            package var commits: Int
            /// For how long the oldest call under way has waited for its answer, also where its
            /// callers have gone.
            package var longestInFlight: Duration
        }

        package var small: Lane
        package var large: Lane
    }

    package let settings: Settings
    private let store: EventStore
    private let small: GroupLane
    private let large: GroupLane
    private let stops: AsyncStream<Void>
    private let stopping: AsyncStream<Void>.Continuation

    package init(_ store: EventStore, _ settings: Settings = Settings()) {
        precondition(settings.connections > 0 && settings.mostRequests > 0)
        self.settings = settings
        self.store = store
        let bound = GroupQueue.Bound(requests: settings.mostRequests, bytes: settings.mostBytes)
        func lane(_ mostBytes: Int) -> GroupLane {
            GroupLane(
                bound: bound, mostBytes: mostBytes, timeout: settings.timeout, callTimeout: settings.callTimeout,
                versionHints: store.versionHints)
        }
        small = lane(1 << 20)
        large = lane(AppendBatch.mostBytes)
        (stops, stopping) = AsyncStream.makeStream()
    }

    /// Those that callers who ask for a level wait for.
    package var confirmations: Confirmations { store.confirmations }

    package var status: Status { Status(small: small.status, large: large.status) }

    /// For how long the oldest append that was sent has waited for its answer: of these lanes, and
    /// of calls of the store itself.
    package var longestInFlight: Duration {
        let status = status
        return max(status.small.longestInFlight, status.large.longestInFlight, store.callsUnderWay.longest)
    }

    /// Appends the events of `request`, all or none, and returns when they are committed.
    ///
    /// A caller that is cancelled while its request is queued has written nothing. A caller that is
    /// cancelled later returns at once, and its events may be written; to find out, retry with the
    /// same event ids. Both get a `CancellationError`.
    /// - Parameters:
    ///   - level: what the events must reach before they are answered, if the ledger demands less.
    ///   - limit: how long to wait for `level`, if it is quorum: for the answer of a call that was
    ///     sent, whose commit may wait for the standbys, and after it, where it has not.
    /// - Returns: one answer an event, in order.
    /// - Throws: the request's ``Refusal``; ``OutcomeUnknown`` where the connection broke during
    ///   the commit, or the answer took longer than `callTimeout` or `limit`; ``NotDurable`` where
    ///   the events are written and have not reached the level; ``PostgresError``,
    ///   ``NotConfirmed``, ``GroupCommitBusy`` or ``GroupCommitStopped`` where nothing was written;
    ///   `CancellationError`.
    package func append(
        _ request: AppendRequest, atLeast level: Durability = .local, within limit: Duration = .seconds(10)
    ) async throws -> [Appended] {
        try Task.checkCancellation()
        if let refusal = request.refusalBySize { throw refusal }
        let size = request.size
        let isSmall = request.events.count <= settings.smallEvents && size <= settings.smallBytes
        let lane = isSmall ? small : large
        let ofLevel = level == .quorum ? limit : nil
        return try await store.durably(atLeast: level, within: limit) {
            [.success(try await lane.append(request, size: size, answeredWithin: ofLevel))]
        }[0].get()
    }

    /// Appends one event: see ``append(_:)``.
    package func append(_ event: NewEvent, to job: JobID, expectedVersion: Int32? = nil) async throws -> Appended {
        try await append(AppendRequest(job: job, events: [event], expectedVersion: expectedVersion))[0]
    }

    private enum Ended { case lane, grace, watch }
    /// How often to look for callers whose time is up.
    private static let look = Duration.milliseconds(100)

    /// Serves requests until ``stop()``, then finishes the accepted ones, for `grace` at most. Call
    /// it once. When the grace ends, or the task is cancelled, the remaining requests fail: queued
    /// ones with ``GroupCommitStopped``, those in flight with ``OutcomeUnknown``.
    package func run() async {
        await withTaskCancellationHandler {
            await withTaskGroup(of: Ended.self) { tasks in
                let lanes = Array(repeating: small, count: settings.connections) + [large]
                for lane in lanes {
                    tasks.addTask {
                        await lane.serve(self.store.pool.configuration)
                        return .lane
                    }
                }
                tasks.addTask { await self.waitForEndOfGrace() }
                tasks.addTask {
                    // Cancellation ends the sleep, and with it this task.
                    while (try? await Task.sleep(for: Self.look)) != nil {
                        self.small.failOverdue()
                        self.large.failOverdue()
                    }
                    return .watch
                }
                var serving = lanes.count
                while serving > 0, let ended = await tasks.next() {
                    switch ended {
                    case .lane: serving -= 1
                    case .grace:
                        halt()
                        tasks.cancelAll()
                    // It ends only when the tasks are cancelled.
                    case .watch: break
                    }
                }
                tasks.cancelAll()
            }
        } onCancel: {
            halt()
        }
    }

    /// Refuses new requests, and makes ``run()`` return once the accepted ones are answered.
    package func stop() {
        stopping.finish()
        small.stop()
        large.stop()
    }

    private func waitForEndOfGrace() async -> Ended {
        for await _ in stops {}
        do {
            try await Task.sleep(for: settings.grace)
        } catch {
            // Cancelled: the lanes have ended, or no caller waits for them any more.
        }
        return .grace
    }

    private func halt() {
        stop()
        small.halt()
        large.halt()
    }
}

extension EventStore {
    /// Runs `body` with a group commit that stops when `body` returns. Accepted requests are
    /// finished first.
    package func withGroupCommit<T: Sendable>(
        _ settings: GroupCommit.Settings = GroupCommit.Settings(), _ body: (GroupCommit) async throws -> T
    ) async throws -> T {
        let commits = GroupCommit(self, settings)
        async let running: Void = commits.run()
        let result: Result<T, any Error>
        do { result = .success(try await body(commits)) } catch { result = .failure(error) }
        commits.stop()
        await running
        return try result.get()
    }
}
