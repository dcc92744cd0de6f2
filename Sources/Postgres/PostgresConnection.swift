import BlockingIO
import Texts

/// One connection to Postgres.
///
/// It serves one user at a time: take it from a ``PostgresPool``, or keep one for yourself.
/// Cancelling a task also cancels its statement on the server; the connection stays usable.
package actor PostgresConnection {
    private let executor = BlockingExecutor(label: "postgres")
    package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }

    nonisolated let interrupt: Interrupt
    let configuration: PostgresConfiguration
    var libpq: LibpqConnection?
    /// Counts the operations, so that an abandoned stream knows that it is over.
    private(set) var operation = 0
    /// Whether results of an earlier operation are still to come. They must be read before the next
    /// operation.
    var isStreaming = false
    /// Whether the operation under way runs in a transaction block, which would fail if the
    /// operation were cancelled.
    private var isStreamInTransaction = false
    /// The names of the statements that the server has prepared, by their text.
    private var prepared: [ExactText: String] = [:]
    private var preparations = 0
    /// Has `interrupt` rung when another server leads.
    private let following: LeadingServer.Following?

    init(_ configuration: PostgresConfiguration) throws(PostgresError) {
        self.configuration = configuration
        do {
            interrupt = try Interrupt()
        } catch {
            throw PostgresError(.cannotConnect, "\(error)")
        }
        following = configuration.leading?.follow(ringing: interrupt)
    }

    /// Connects once; throws ``PostgresError`` of kind `cannotConnect`.
    package static func connect(_ configuration: PostgresConfiguration) async throws -> PostgresConnection {
        if configuration.leading?.knowsNone == true { await meetAllHosts(of: configuration) }
        let connection = try PostgresConnection(configuration)
        try await connection.open()
        return connection
    }

    /// Connects, and retries with growing pauses while the error may pass.
    /// - Parameter timeout: how long to try; `nil` tries until the task is cancelled.
    package static func connect(_ configuration: PostgresConfiguration, timeout: Duration?) async throws
        -> PostgresConnection
    {
        let deadline = timeout.map { ContinuousClock.now.advanced(by: $0) }
        var backoff = Backoff()
        while true {
            do {
                return try await connect(configuration)
            } catch let error as PostgresError where error.isRetriable {
                if let deadline, ContinuousClock.now >= deadline { throw error }
                try await backoff.pause()
            }
        }
    }

    /// Opens another connection with the same configuration, for work beside this one.
    /// - Parameter silence: how long a statement on it may run without a byte from the server; by
    ///   default the same as here.
    package nonisolated func another(silence: Duration? = nil, timeout: Duration = .seconds(10)) async throws
        -> PostgresConnection
    {
        var configuration = configuration
        configuration.silence = silence ?? configuration.silence
        return try await Self.connect(configuration, timeout: timeout)
    }

    /// The server process that serves this connection, as in `pg_stat_activity.pid`.
    package var serverProcess: Int32 { libpq?.serverProcess ?? 0 }
    /// As in `server_version_num`.
    package var serverVersion: Int32 { libpq?.serverVersion ?? 0 }

    /// Whether the next statement can be sent: the connection is open, and its session is not
    /// spoiled.
    package func isUsable() -> Bool {
        guard let libpq, !libpq.isStale() else { return false }
        return libpq.server?.isLeading(isStandby: libpq.isStandby) ?? true
    }

    /// Whether the connection can go to the next user: it is usable, and in no transaction.
    func isAtRest() -> Bool { isUsable() && !isInTransaction }

    /// Closes the connection; an open transaction is rolled back by the server.
    package func close() { libpq = nil }

    // MARK: Statements

    /// Runs one statement and returns all of its rows.
    @discardableResult
    package nonisolated func query(_ sql: String, _ parameters: any PostgresEncodable...) async throws -> PostgresRows {
        try await query(PostgresStatement(sql, parameters))
    }

    @discardableResult
    package nonisolated func query(_ statement: PostgresStatement) async throws -> PostgresRows {
        try await cancellable { connection, cancellation in try connection.run(statement, cancellation) }
    }

    /// Runs one statement, unless the server has closed the connection while it was idle. Then
    /// nothing was sent, and it returns `nil`.
    package nonisolated func queryUnlessStale(_ statement: PostgresStatement) async throws -> PostgresRows? {
        try await cancellable { connection, cancellation in
            guard connection.isUsable() else { return nil }
            // `isUsable` cleared the interrupt, which may have been meant for this call.
            if cancellation.isCancelled { throw PostgresError.cancelled }
            return try connection.run(statement, cancellation)
        }
    }

    /// Runs a text of several statements without parameters. Outside a transaction block they form
    /// one transaction.
    package nonisolated func execute(script: String) async throws {
        try await cancellable { connection, cancellation in _ = try connection.run(script: script, cancellation) }
    }

    /// Sends all statements at once, in one implicit transaction unless they say otherwise, and
    /// then reads all answers: one round trip. After a failed statement the later ones fail too,
    /// with an error of kind `usage`.
    package nonisolated func pipeline(
        _ statements: [PostgresStatement]
    ) async throws -> [Result<PostgresRows, PostgresError>] {
        try await cancellable { connection, cancellation in try connection.run(pipeline: statements, cancellation) }
    }

    // MARK: Parts of longer operations, for the streams (and for COPY, in a file of its own)

    func begin(_ statement: PostgresStatement) throws(PostgresError) -> Int {
        let libpq = try ready()
        let isInTransaction = libpq.isInTransaction
        try libpq.send(statement)
        try libpq.enterSingleRowMode()
        return started(inTransaction: isInTransaction)
    }

    func nextRows(of operation: Int, atMost bytes: Int, _ cancellation: Cancellation) throws(PostgresError)
        -> [PostgresRow]
    {
        let libpq = try ongoing(operation)
        var rows: [PostgresRow] = []
        var size = 0
        do throws(PostgresError) {
            while size < bytes, let result = try libpq.nextResult(cancellation) {
                if let error = result.error { throw error }
                guard !result.isCopy else { throw .copyElsewhere }
                guard result.status == .singleTuple else { continue }
                rows.append(PostgresRow(result: result, index: 0))
                size += result.size
            }
        } catch {
            throw recover(from: error)
        }
        if size < bytes { isStreaming = false }
        return rows
    }

    // MARK: The inside

    private func run(_ statement: PostgresStatement, _ cancellation: Cancellation) throws(PostgresError) -> PostgresRows
    {
        let libpq = try ready()
        do throws(PostgresError) {
            let name = try prepare(statement, libpq, cancellation)
            try requireLeading(libpq)
            try libpq.send(statement, preparedAs: name)
            return PostgresRows(result: try lastResult(libpq, cancellation))
        } catch {
            var error = recover(from: error)
            guard statement.isPrepared, error.sqlState == .planIsOutdated else { throw error }
            // A migration changed the result of a function after the server had prepared the
            // statement. Nothing ran.
            prepared = [:]
            error.isOutdatedPlan = true
            guard !isInTransaction else { throw error }
            var anew = statement
            anew.isPrepared = false
            return try run(anew, cancellation)
        }
    }

    /// The name of the prepared statement, which is prepared now if it is new; `nil` for a
    /// statement that is not to be prepared.
    private func prepare(
        _ statement: PostgresStatement, _ libpq: LibpqConnection, _ cancellation: Cancellation
    ) throws(PostgresError) -> String? {
        guard statement.isPrepared else { return nil }
        if let name = prepared[ExactText(statement.sql)] { return name }
        preparations += 1
        let name = "kept_\(preparations)"
        try libpq.sendPreparation(of: statement, as: name)
        _ = try lastResult(libpq, cancellation)
        prepared[ExactText(statement.sql)] = name
        return name
    }

    @discardableResult
    func run(
        script: String, isCancellable: Bool = true, _ cancellation: Cancellation
    ) throws(PostgresError) -> LibpqResult {
        let libpq = try ready()
        do throws(PostgresError) {
            try libpq.send(script: script, isCancellable: isCancellable)
            return try lastResult(libpq, cancellation)
        } catch {
            throw recover(from: error)
        }
    }

    private func run(
        pipeline statements: [PostgresStatement], _ cancellation: Cancellation
    ) throws(PostgresError) -> [Result<PostgresRows, PostgresError>] {
        guard !statements.isEmpty else { return [] }
        let libpq = try ready()
        do throws(PostgresError) {
            try libpq.enterPipeline(cancellation)
            for statement in statements { try libpq.send(statement) }
            try libpq.sync()
            var answers: [Result<PostgresRows, PostgresError>] = []
            var last: Result<PostgresRows, PostgresError>?
            // In a pipeline each statement's results end with a nil; the whole ends with the sync's
            // own result.
            while true {
                guard let result = try libpq.nextResult(cancellation) else {
                    if let last { answers.append(last) }
                    last = nil
                    continue
                }
                if result.status == .pipelineSync { break }
                guard !result.isCopy else { throw .copyElsewhere }
                if result.status == .pipelineAborted {
                    last = .failure(PostgresError(.usage, "not run: a statement before it failed"))
                } else if let error = result.error {
                    if error.kind == .connectionLost { throw error }
                    last = .failure(error)
                } else {
                    last = .success(PostgresRows(result: result))
                }
            }
            try libpq.exitPipeline()
            return answers
        } catch {
            // An interrupted pipeline leaves answers under way that cannot be told from later ones.
            close()
            throw error
        }
    }

    private func lastResult(_ libpq: LibpqConnection, _ cancellation: Cancellation) throws(PostgresError) -> LibpqResult
    {
        var last: LibpqResult?
        var failure: PostgresError?
        while let result = try libpq.nextResult(cancellation) {
            guard !result.isCopy else { throw .copyElsewhere }
            if failure == nil { failure = result.error }
            last = result
        }
        if let failure { throw failure }
        guard let last else { throw PostgresError(.connectionLost, "no result") }
        return last
    }

    /// The connection, ready for the next operation.
    func ready() throws(PostgresError) -> LibpqConnection {
        guard let libpq, libpq.failure == nil else { throw PostgresError(.connectionLost, "the connection is closed") }
        try requireLeading(libpq)
        if isStreaming {
            isStreaming = false
            // A cancelled statement would fail its transaction. There the rest is read and dropped
            // instead.
            do throws(PostgresError) {
                try libpq.drain(cancelling: !isStreamInTransaction)
            } catch {
                close()
                // Of this operation nothing was sent.
                throw .cannotConnect("the operation before was given up, and did not end: \(error.message)")
            }
            try requireLeading(libpq)
        }
        libpq.hearLastWord()
        return libpq
    }

    func started(inTransaction isInTransaction: Bool) -> Int {
        operation += 1
        isStreaming = true
        isStreamInTransaction = isInTransaction
        return operation
    }

    func ongoing(_ operation: Int) throws(PostgresError) -> LibpqConnection {
        guard let libpq, operation == self.operation, isStreaming else {
            throw PostgresError(.usage, "the connection has been used for something else since")
        }
        try requireLeading(libpq)
        return libpq
    }

    /// Makes the connection usable again after `error`, or closes it. Returns the error for the
    /// caller.
    func recover(from error: PostgresError) -> PostgresError {
        isStreaming = false
        guard let libpq else { return error }
        do throws(PostgresError) {
            // After an error on our side the statement still runs on the server, and its result is
            // not wanted.
            if libpq.failure == nil { try libpq.drain(cancelling: error.kind == .usage) }
        } catch {
            // If draining failed, `failure` below has the reason.
        }
        if libpq.failure != nil || error.kind == .connectionLost { close() }
        return error
    }

    /// Runs `body` on the connection's own thread. Cancelling the task interrupts it.
    nonisolated func cancellable<T: Sendable>(
        _ body: @Sendable (isolated PostgresConnection, Cancellation) throws -> T
    ) async throws -> T {
        let cancellation = Cancellation(ringing: interrupt)
        return try await withTaskCancellationHandler {
            if Task.isCancelled { throw PostgresError.cancelled }
            return try await body(self, cancellation)
        } onCancel: {
            cancellation.cancel()
        }
    }

    // MARK: Transactions

    func begin(transaction mode: String, _ cancellation: Cancellation) throws(PostgresError) {
        guard try !ready().isInTransaction else { throw PostgresError(.usage, "a transaction is open already") }
        try run(script: "BEGIN \(mode)", cancellation)
    }

    /// If a statement in the transaction failed, the server answers COMMIT with a ROLLBACK, and
    /// without an error.
    func commit(_ cancellation: Cancellation) throws(PostgresError) {
        guard try run(script: "COMMIT", isCancellable: false, cancellation).command == "COMMIT" else {
            var error = PostgresError(.server, "the transaction was rolled back: a statement in it had failed")
            error.sqlState = .inFailedTransaction
            throw error
        }
    }

    /// Rolls an open transaction back, also in a cancelled task. If that fails, it closes the
    /// connection, which ends the transaction on the server as well.
    func rollBack() {
        guard let libpq, libpq.isInTransaction else { return }
        // A statement under way may be cancelled now: it does not matter any more if that fails the
        // transaction.
        isStreamInTransaction = false
        do throws(PostgresError) {
            try run(script: "ROLLBACK", Cancellation(ringing: interrupt))
        } catch {
            close()
        }
    }

    var isInTransaction: Bool { libpq?.isInTransaction ?? false }
}

extension PostgresError {
    static let cancelled = PostgresError(.cancelled, "cancelled")
    static let copyElsewhere = PostgresError(.usage, "COPY needs copyIn(…) or copyOut(…)")
}
