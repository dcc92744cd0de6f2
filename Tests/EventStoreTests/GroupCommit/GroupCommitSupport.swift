import EventStore
import LedgerCore
import LedgerTesting
import Postgres
import Testing

extension TestLedger {
    /// Keeps everyone from numbering events until ``release(_:)``, so that a started commit stays
    /// in flight until the test has seen what it waits for, even on a busy machine.
    func holdLog() async throws -> PostgresConnection {
        let connection = try await connect(as: "holder")
        try await extendLockTimeouts(on: connection)
        try await connection.execute(script: "BEGIN; LOCK TABLE serialiser IN SHARE ROW EXCLUSIVE MODE")
        return connection
    }

    /// Lets appends wait for locks for longer than a busy machine makes a test take. Their own
    /// timeout is 10 s.
    func extendLockTimeouts(on connection: PostgresConnection) async throws {
        let impatient = try await connection.query(
            """
            SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = $1::regnamespace
               AND 'lock_timeout=10s' = ANY (proconfig)
            """,
            "\(name)")
        for function in try impatient.map({ try $0.decode(0, as: String.self) }) {
            try await connection.execute(script: "ALTER FUNCTION \(function) SET lock_timeout = '10min'")
        }
    }

    func release(_ holder: PostgresConnection) async throws {
        try await holder.execute(script: "COMMIT")
        await holder.close()
    }

    /// The events of the log, in order.
    func log() async throws -> [RecordedEvent] { try await store.page(EventQuery()) }
}

extension GroupCommit.Settings {
    /// For tests that keep the log locked for as long as they need, on a busy machine too.
    static var patient: GroupCommit.Settings {
        var settings = GroupCommit.Settings()
        (settings.timeout, settings.callTimeout) = (.seconds(600), .seconds(600))
        return settings
    }
}

extension GroupCommit {
    /// Appends in a separate task, and returns when the request is accepted, waiting or in flight.
    func begin(_ request: AppendRequest) async throws -> Task<[Appended], any Error> {
        let before = status
        let task = Task { try await append(request) }
        _ = try await eventually("the request has arrived") { status.present > before.present ? true : nil }
        return task
    }

    /// Waits until exactly one small request is in flight and the queue is empty. Begins again
    /// where a busy machine has not sent the request within its patience.
    func beginInFlight(_ request: AppendRequest) async throws -> Task<[Appended], any Error> {
        var task = try await begin(request)
        _ = try await eventually("the request is in flight") {
            if status.present == 0 {
                await #expect(throws: GroupCommitBusy.self) { try await task.value }
                task = try await begin(request)
            }
            return status.small.inFlight == 1 && status.small.accepted == 0 ? true : nil
        }
        return task
    }
}

extension GroupCommit.Status {
    var present: Int { [small, large].reduce(0) { $0 + $1.accepted + $1.waiting + $1.inFlight } }
}

extension AppendRequest {
    static func queue(_ job: String) -> AppendRequest {
        AppendRequest(job: job, events: [NewEvent(type: "queued", data: #"{"name":"n"}"#)])
    }

    static func progress(_ job: String, _ completed: Int = 1, padding: Int = 0) -> AppendRequest {
        let message = String(repeating: "x", count: padding)
        return AppendRequest(
            job: job,
            events: [NewEvent(type: "progress", data: #"{"completed":\#(completed),"message":"\#(message)"}"#)])
    }
}
