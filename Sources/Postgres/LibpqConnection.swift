import BlockingIO
import CLibpq
import Dispatch
import Glibc
import Texts

/// A `PGconn` in non-blocking mode, and the waiting around it. Blocks its thread; every wait can be
/// interrupted and has a bound.
///
/// Not `Sendable` on purpose: it lives in one ``PostgresConnection`` actor. libpq's manual, 34.20:
/// "no two threads attempt to manipulate the same PGconn object at the same time" is what the actor
/// gives.
final class LibpqConnection {
    private let pointer: OpaquePointer
    private let interrupt: Interrupt
    private let silence: Duration
    private let address: ConnectionString
    /// How long the server may take to end a statement after it was told to, and how often it is
    /// told in that time.
    private let cancelPatience = Duration.seconds(5)
    private let cancelInterval = Duration.milliseconds(500)
    /// Why the statement under way was told to end, and until when it may: by a cancelled task, by
    /// a silence, by the next one.
    private var ending: (reason: PostgresError, deadline: ContinuousClock.Instant)?
    /// Set when the connection cannot be used again.
    private(set) var failure: PostgresError?
    /// Set when the session has answered with an error that lasts as long as it does: who has it
    /// may finish with it, nobody else gets it.
    private(set) var isSpoiled = false
    /// What the server has said beside its answers.
    private final class Remarks { var count = 0 }
    private let remarks = Remarks()

    init(_ configuration: PostgresConfiguration, interrupt: Interrupt) throws(PostgresError) {
        self.interrupt = interrupt
        silence = configuration.silence
        address = try ConnectionString(configuration.url)
        // Later keywords win: what stands before `dbname` are defaults that the URL may change.
        var settings: [(String, String)] = [
            ("application_name", configuration.applicationName),
            ("connect_timeout", String(configuration.connectTimeout)),
            ("keepalives_idle", "10"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
            ("dbname", configuration.url.revealed),
            ("client_encoding", "UTF8"),
        ]
        // Of several hosts one takes writes, and after a switchover it is another; by itself libpq
        // keeps to the first that answers.
        if address.namesSeveralHosts, getenv("PGTARGETSESSIONATTRS") == nil {
            settings.insert(("target_session_attrs", "read-write"), at: 0)
        }
        // PQconnectdbParams blocks, for connect_timeout seconds a host at most; it alone tries
        // every host within its own time.
        let connection = withCStrings(settings.map(\.0)) { keywords in
            withCStrings(settings.map(\.1)) { values in PQconnectdbParams(keywords, values, 1) }
        }
        guard let connection else { throw PostgresError(.cannotConnect, "out of memory") }
        pointer = connection
        // The descriptor and the memory go with `deinit`: it runs when this initializer throws from
        // here on.
        guard PQstatus(pointer) == CONNECTION_OK else {
            // An option's value that libpq understands, but not as that option's, is found only
            // now: `invalid sslmode value: …`.
            throw lastMessage.hasPrefix("invalid ")
                ? .mistake(lastMessage) : .cannotConnect(lastMessage, isPermanent: false)
        }
        // Notices are for people at a terminal; libpq would print them on standard error. That
        // there was one is all that counts. The pointer outlives no one: `remarks` is released
        // after `deinit` has finished the connection, which alone calls with it.
        PQsetNoticeReceiver(
            pointer, { remarks, _ in Unmanaged<Remarks>.fromOpaque(remarks!).takeUnretainedValue().count += 1 },
            Unmanaged.passUnretained(remarks).toOpaque())
        guard PQsetnonblocking(pointer, 1) == 0 else { throw PostgresError(.cannotConnect, lastMessage) }
    }

    deinit { PQfinish(pointer) }

    var serverProcess: Int32 { PQbackendPID(pointer) }
    var serverVersion: Int32 { PQserverVersion(pointer) }
    var database: String { PQdb(pointer).map { String(cString: $0) } ?? "" }
    /// A setting that the server tells of by itself.
    func parameter(_ name: String) -> String? { PQparameterStatus(pointer, name).map { String(cString: $0) } }
    /// Whether a transaction block is open, failed or not.
    var isInTransaction: Bool {
        [PQTRANS_INTRANS, PQTRANS_INERROR, PQTRANS_ACTIVE].contains(PQtransactionStatus(pointer))
    }
    private var lastMessage: String { address.cleaned(String(cString: PQerrorMessage(pointer)).trimmed) }

    // MARK: Sending

    /// - Parameter name: of the statement, where the server knows it already.
    func send(_ statement: PostgresStatement, preparedAs name: String? = nil) throws(PostgresError) {
        let parameters = try EncodedParameters(statement.parameters)
        let (count, formats) = (Int32(parameters.lengths.count), [Int32](repeating: 1, count: parameters.lengths.count))
        ending = nil
        isInSingleRowMode = false
        // The pointers into the buffer are made only while it is pinned, and libpq copies before it
        // returns.
        let sent = parameters.bytes.withUnsafeBytes { buffer in
            let base = buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
            let pointers: [UnsafePointer<CChar>?] = parameters.starts.map { start in start.map { base + $0 } }
            return if let name {
                PQsendQueryPrepared(pointer, name, count, pointers, parameters.lengths, formats, 1)
            } else {
                PQsendQueryParams(
                    pointer, statement.sql, count, parameters.types, pointers, parameters.lengths, formats, 1)
            }
        }
        guard sent == 1 else { throw lost() }
    }

    /// Has the server parse the statement and keep it under `name`.
    func sendPreparation(of statement: PostgresStatement, as name: String) throws(PostgresError) {
        ending = nil
        isInSingleRowMode = false
        let types = statement.parameters.map { type(of: $0).postgresType }
        guard PQsendPrepare(pointer, name, statement.sql, Int32(types.count), types) == 1 else { throw lost() }
    }

    /// Several statements in one text, without parameters; they run in one transaction unless the
    /// text says otherwise.
    func send(script: String) throws(PostgresError) {
        guard !script.utf8.contains(0) else { throw PostgresError(.usage, "a script cannot contain U+0000") }
        ending = nil
        isInSingleRowMode = false
        guard PQsendQuery(pointer, script) == 1 else { throw lost() }
    }

    /// libpq forgets single-row mode when the next statement is sent, but not when that statement
    /// is the first of a pipeline: it would come row by row. Something else is sent in between.
    private var isInSingleRowMode = false

    func enterPipeline(_ cancellation: Cancellation) throws(PostgresError) {
        if isInSingleRowMode {
            try send(script: "")
            while try nextResult(cancellation) != nil {}
        }
        guard PQenterPipelineMode(pointer) == 1 else { throw PostgresError(.usage, lastMessage) }
    }

    func exitPipeline() throws(PostgresError) {
        guard PQexitPipelineMode(pointer) == 1 else { throw PostgresError(.usage, lastMessage) }
    }

    func sync() throws(PostgresError) {
        guard PQpipelineSync(pointer) == 1 else { throw lost() }
    }

    /// Rows come one by one instead of all at the end.
    func enterSingleRowMode() throws(PostgresError) {
        guard PQsetSingleRowMode(pointer) == 1 else { throw PostgresError(.usage, "cannot stream this statement") }
        isInSingleRowMode = true
    }

    // MARK: Receiving

    /// The next result of the statement under way, `nil` after its last.
    func nextResult(_ cancellation: Cancellation) throws(PostgresError) -> LibpqResult? {
        while true {
            let unsent = PQflush(pointer)
            guard unsent >= 0 else { throw lost() }
            if unsent == 0, PQisBusy(pointer) == 0 { break }
            try wait(unsent == 1 ? .either : .readable, cancellation)
            guard PQconsumeInput(pointer) == 1 else { throw lost() }
        }
        guard let result = PQgetResult(pointer).map({ LibpqResult(owning: $0, ending: ending?.reason) }) else {
            return nil
        }
        if result.status == .fatalError, result.error?.sqlState?.spoilsSession == true { isSpoiled = true }
        return result
    }

    /// Reads what is left of a statement that nobody waits for any more.
    func drain(cancelling: Bool) throws(PostgresError) {
        if cancelling, ending == nil { try end(because: .cancelled) }
        let nobody = Cancellation(ringing: interrupt)
        while let result = try nextResult(nobody) {
            if result.status == PGRES_COPY_OUT {
                var unwanted: [UInt8] = []
                while try copyData(into: &unwanted, nobody) { unwanted.removeAll(keepingCapacity: true) }
            }
            if result.status == PGRES_COPY_IN { try endCopy(failing: "abandoned", nobody) }
        }
    }

    // MARK: COPY

    func putCopyData(_ bytes: [UInt8], _ cancellation: Cancellation) throws(PostgresError) {
        while true {
            let put = bytes.withUnsafeBytes {
                PQputCopyData(pointer, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count))
            }
            if put == 1 { break }
            guard put == 0 else { throw lost() }
            try wait(.either, cancellation)
            guard PQconsumeInput(pointer) == 1 else { throw lost() }
        }
        // Flushing keeps libpq's buffer from growing with the data. PQflush does not tell of a
        // server that has gone, and then drops the data: only reading finds out.
        while true {
            let unsent = PQflush(pointer)
            guard unsent >= 0, PQconsumeInput(pointer) == 1 else { throw lost() }
            if unsent == 0 { return }
            try wait(.either, cancellation)
        }
    }

    func endCopy(failing message: String?, _ cancellation: Cancellation) throws(PostgresError) {
        while true {
            let put = PQputCopyEnd(pointer, message)
            if put == 1 { return }
            guard put == 0 else { throw lost() }
            try wait(.either, cancellation)
        }
    }

    /// Appends one row of a `COPY … TO STDOUT` to `chunk`; false at the end, after which the
    /// statement's result follows.
    func copyData(into chunk: inout [UInt8], _ cancellation: Cancellation) throws(PostgresError) -> Bool {
        while true {
            var buffer: UnsafeMutablePointer<CChar>?
            let length = PQgetCopyData(pointer, &buffer, 1)
            if let buffer {
                // libpq allocated it for us; it is copied out and freed here.
                defer { PQfreemem(buffer) }
                chunk.append(contentsOf: UnsafeRawBufferPointer(start: buffer, count: Int(length)))
                return true
            }
            if length == -1 { return false }
            guard length == 0 else { throw lost() }
            try wait(.readable, cancellation)
            guard PQconsumeInput(pointer) == 1 else { throw lost() }
        }
    }

    // MARK: Waiting

    private func wait(_ readiness: Interrupt.Readiness, _ cancellation: Cancellation) throws(PostgresError) {
        if ending == nil, cancellation.isCancelled { try end(because: .cancelled) }
        let socket = PQsocket(pointer)
        guard socket >= 0 else { throw lost() }
        switch interrupt.wait(for: readiness, on: socket, within: ending == nil ? silence : cancelInterval) {
        case .ready, .interrupted: return
        case .timedOut:
            guard let ending else {
                return try end(because: PostgresError(.timedOut, "no byte from the server in \(silence)"))
            }
            if ContinuousClock.now >= ending.deadline { throw fail(ending.reason) }
            // A request that reaches the server's process before the statement does has no effect:
            // ask again.
            try requestCancel(because: ending.reason)
        }
    }

    /// Tells the server to end the statement under way, which from now on has little time to do so.
    private func end(because reason: PostgresError) throws(PostgresError) {
        ending = (reason, .now.advanced(by: cancelPatience))
        try requestCancel(because: reason)
    }

    /// Asks the server to end the statement under way. Best effort: the caller bounds its wait for
    /// the effect.
    ///
    /// PQcancel returns when the server has dealt with the request, so it cannot hit a later
    /// statement. It has no limit of its own: a server that hangs would hold us for ever. It gets a
    /// thread that can be left behind, together with the connection.
    private func requestCancel(because reason: PostgresError) throws(PostgresError) {
        guard let request = CancelRequest(pointer) else { return }
        let done = DispatchSemaphore(value: 0)
        DispatchQueue(label: "postgres-cancel").async {
            request.send()
            done.signal()
        }
        let seconds = Int(cancelPatience.components.seconds)
        guard done.wait(timeout: .now() + .seconds(seconds)) == .success else { throw fail(reason) }
    }

    // MARK: The end

    /// Whether the server has hung up while the connection was idle, or the session is spoiled.
    func isStale() -> Bool {
        if isSpoiled || failure != nil || PQstatus(pointer) != CONNECTION_OK { return true }
        // A bell that was rung for an earlier statement says nothing about the server.
        interrupt.clear()
        // A server speaks unasked to tell of a changed setting, or that it is about to hang up:
        // which may follow much later.
        let heard = remarks.count
        while interrupt.wait(for: .readable, on: PQsocket(pointer), within: .zero) == .ready {
            if PQconsumeInput(pointer) == 0 || PQstatus(pointer) != CONNECTION_OK { return true }
            // libpq looks at what has come when it is asked whether it waits for more.
            if PQisBusy(pointer) == 1 || remarks.count > heard { return true }
        }
        return false
    }

    private func lost() -> PostgresError {
        fail(PostgresError(.connectionLost, lastMessage.isEmpty ? "the connection broke" : lastMessage))
    }

    private func fail(_ error: PostgresError) -> PostgresError {
        failure = error
        return error
    }
}

extension PostgresError {
    static func cannotConnect(_ message: String, isPermanent: Bool) -> PostgresError {
        var error = PostgresError(.cannotConnect, message)
        error.isPermanent = isPermanent
        return error
    }

    /// In the connection string.
    static func mistake(_ message: String) -> PostgresError {
        var error = cannotConnect(message, isPermanent: true)
        error.isMistake = true
        return error
    }
}

/// What PQcancel needs to know of a connection.
///
/// `@unchecked Sendable`: libpq's manual, 34.7 «Canceling Queries in Progress», allows PQcancel
/// from another thread than the one that uses the connection; `pointer` is a constant copy of the
/// connection's address, freed only in `deinit`.
private final class CancelRequest: @unchecked Sendable {
    private let pointer: OpaquePointer

    init?(_ connection: OpaquePointer) {
        guard let pointer = PQgetCancel(connection) else { return nil }
        self.pointer = pointer
    }

    deinit { PQfreeCancel(pointer) }

    func send() {
        var message = [CChar](repeating: 0, count: 256)
        _ = PQcancel(pointer, &message, Int32(message.count))
    }
}

/// Lends C a null-terminated array of C strings for the time of `body`.
private func withCStrings<T>(_ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> T) -> T {
    let copies = strings.map { strdup($0) }
    // The copies outlive `body`: they are freed after it has returned.
    defer { for copy in copies { free(copy) } }
    return body(copies.map { UnsafePointer($0) } + [nil])
}
