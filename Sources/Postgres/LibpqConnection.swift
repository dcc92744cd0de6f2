import BlockingIO
import CLibpq
import Glibc
import Texts

/// A `PGconn` in non-blocking mode, and the waiting around it. It blocks its thread; every wait can
/// be interrupted and is bounded.
///
/// Not `Sendable` on purpose: it lives in one ``PostgresConnection`` actor. libpq's manual, 34.20:
/// "no two threads attempt to manipulate the same PGconn object at the same time" is what the actor
/// guarantees.
final class LibpqConnection {
    private let pointer: OpaquePointer
    private let interrupt: Interrupt
    private let silence: Duration
    private let address: ConnectionString
    /// How long the server may take to end a cancelled statement, and how often the request is
    /// repeated in that time.
    private let cancelTimeout = Duration.seconds(5)
    private let cancelInterval = Duration.milliseconds(500)
    /// Why the statement under way was cancelled (a cancelled task, a silence, the next statement),
    /// and until when the server may take to end it.
    private var ending: (reason: PostgresError, deadline: ContinuousClock.Instant)?
    /// Set when the connection cannot be used again.
    private(set) var failure: PostgresError?
    /// Set after an error that lasts as long as the session. The current user may finish with the
    /// session; nobody else gets it.
    private(set) var isSpoiled = false
    /// What the server has said unasked.
    private final class Remarks {
        /// The number of notices.
        var count = 0
        /// Whether the wait for a standby was cancelled in the statement under way.
        var isUnreplicated = false
        /// Whether the session was ended while it was idle.
        var isEnd = false
    }
    private let remarks = Remarks()

    /// The server, once it is known, of a session that keeps to the leading one.
    var server: SessionServer?
    private let leading: LeadingServer?
    /// How often another server had taken the lead when the session was begun.
    private let changes: Int

    /// - Parameters:
    ///   - host: the index of the host to connect to, of those that the connection string names;
    ///     `nil` for the first one that will do.
    ///   - isSurvey: whether any server will do, which is only asked who it is.
    ///   - changes: how often another server had taken the lead when this one was chosen.
    ///   - limit: how long to wait for the connection; `nil` for as long as libpq takes.
    init(
        _ configuration: PostgresConfiguration, host: Int? = nil, isSurvey: Bool = false, changes: Int? = nil,
        within limit: Duration? = nil, interrupt: Interrupt
    ) throws(PostgresError) {
        self.interrupt = interrupt
        silence = configuration.silence
        address = try ConnectionString(configuration.url)
        let settings = configuration.libpqSettings(address, host: host, isSurvey: isSurvey)
        // Who is only asked who it is may be the one that leads.
        let leading = isSurvey ? nil : configuration.leading
        let changes = changes ?? leading?.changes ?? 0
        (self.leading, self.changes) = (leading, changes)
        let connection = try ConnectionAttempt(settings, ringing: interrupt).connection(within: limit) {
            leading.map { $0.changes != changes } ?? false
        }
        guard let connection else { throw PostgresError(.cannotConnect, "out of memory") }
        pointer = connection
        // `deinit` frees the descriptor and the memory. It also runs when this initializer throws
        // from here on.
        guard PQstatus(pointer) == CONNECTION_OK else {
            // An invalid value of a known option is reported only now: `invalid sslmode value: …`.
            if lastMessage.hasPrefix("invalid ") { throw .mistake(lastMessage) }
            var error = PostgresError(.cannotConnect, lastMessage)
            // What libpq says of a server that target_session_attrs=read-write rules out.
            if lastMessage.hasSuffix("session is read-only") { error.sqlState = .readOnly }
            throw error
        }
        // By default libpq prints notices on standard error. The pointer stays valid: `remarks` is
        // released after `deinit` has finished the connection, which alone calls the receiver.
        PQsetNoticeReceiver(
            pointer,
            { remarks, notice in
                let remarks = Unmanaged<Remarks>.fromOpaque(remarks!).takeUnretainedValue()
                remarks.count += 1
                let code = PQresultErrorField(notice, Int32(UInt8(ascii: "C"))).map { String(cString: $0) }
                if let code, SQLState(code).endsSession { remarks.isEnd = true }
                // The text depends on the server's language; the function that said it does not.
                guard let place = PQresultErrorField(notice, Int32(UInt8(ascii: "R"))) else { return }
                if strcmp(place, "SyncRepWaitForLSN") == 0 { remarks.isUnreplicated = true }
            },
            Unmanaged.passUnretained(remarks).toOpaque())
        guard PQsetnonblocking(pointer, 1) == 0 else { throw PostgresError(.cannotConnect, lastMessage) }
    }

    deinit { PQfinish(pointer) }

    var serverProcess: Int32 { PQbackendPID(pointer) }
    var serverVersion: Int32 { PQserverVersion(pointer) }
    var database: String { PQdb(pointer).map { String(cString: $0) } ?? "" }
    /// A setting that the server reports by itself.
    func parameter(_ name: String) -> String? { PQparameterStatus(pointer, name).map { String(cString: $0) } }
    /// Which of the hosts that the connection string names this is; `nil` if it names one.
    var host: Int? {
        guard let name = PQhost(pointer).map({ String(cString: $0) }),
            let port = PQport(pointer).map({ String(cString: $0) })
        else { return nil }
        return address.hosts.firstIndex { options in
            func value(_ name: String) -> String? { options.first { $0.name == name }?.value }
            return (value("host") ?? value("hostaddr")) == name && (value("port") ?? port) == port
        }
    }
    /// Whether the server said that it is a standby.
    var isStandby: Bool { parameter("in_hot_standby") == "on" }
    /// Whether a transaction block is open, failed or not.
    var isInTransaction: Bool {
        [PQTRANS_INTRANS, PQTRANS_INERROR, PQTRANS_ACTIVE].contains(PQtransactionStatus(pointer))
    }
    /// libpq indents its hints with tabs, which a terminal need not show.
    private var lastMessage: String {
        address.cleaned(String(cString: PQerrorMessage(pointer)).trimmed).replacing("\t", with: "  ")
    }

    // MARK: Sending

    /// Whether a statement that is given up is cancelled on the server. Otherwise the connection is
    /// closed.
    private var isCancellable = true

    private func begin(isCancellable: Bool = true) {
        ending = nil
        isInSingleRowMode = false
        remarks.isUnreplicated = false
        self.isCancellable = isCancellable
    }

    /// - Parameter name: the name of the statement, if the server has prepared it.
    func send(_ statement: PostgresStatement, preparedAs name: String? = nil) throws(PostgresError) {
        let parameters = try EncodedParameters(statement.parameters)
        let (count, formats) = (Int32(parameters.lengths.count), [Int32](repeating: 1, count: parameters.lengths.count))
        begin(isCancellable: !statement.endsByClosing)
        // The pointers are valid within the closure, and libpq copies the bytes before it returns.
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
        begin(isCancellable: !statement.endsByClosing)
        let types = statement.parameters.map { type(of: $0).postgresType }
        guard PQsendPrepare(pointer, name, statement.sql, Int32(types.count), types) == 1 else { throw lost() }
    }

    /// Several statements in one text, without parameters; they run in one transaction unless the
    /// text says otherwise.
    func send(script: String, isCancellable: Bool = true) throws(PostgresError) {
        guard !script.utf8.contains(0) else { throw PostgresError(.usage, "a script cannot contain U+0000") }
        begin(isCancellable: isCancellable)
        guard PQsendQuery(pointer, script) == 1 else { throw lost() }
    }

    /// libpq leaves single-row mode when the next statement is sent, but not if that statement is
    /// the first of a pipeline: its rows would come one by one. So an empty script is sent in
    /// between.
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

    /// Makes rows arrive one by one instead of all at the end.
    func enterSingleRowMode() throws(PostgresError) {
        guard PQsetSingleRowMode(pointer) == 1 else { throw PostgresError(.usage, "cannot stream this statement") }
        isInSingleRowMode = true
    }

    // MARK: Receiving

    /// The next result of the statement under way, `nil` after its last.
    /// - Throws: also after the last result, if the statement was committed and its wait for a
    ///   standby was cancelled: then it may not outlive a fail-over.
    func nextResult(_ cancellation: Cancellation) throws(PostgresError) -> LibpqResult? {
        let result = try nextAnswer(cancellation)
        // The server commits after the last result, and before it is ready for the next statement.
        if remarks.isUnreplicated, result.map({ $0.status == .pipelineSync }) ?? true {
            remarks.isUnreplicated = false
            throw .notReplicated
        }
        return result
    }

    private func nextAnswer(_ cancellation: Cancellation) throws(PostgresError) -> LibpqResult? {
        while true {
            let unsent = PQflush(pointer)
            guard unsent >= 0 else { throw lost() }
            if unsent == 0, PQisBusy(pointer) == 0 { break }
            try wait(unsent == 1 ? .either : .readable, cancellation)
            guard PQconsumeInput(pointer) == 1 else { throw lost() }
        }
        guard let answer = PQgetResult(pointer) else { return nil }
        let result = LibpqResult(
            owning: answer, ending: ending?.reason,
            isFromStandby: PQresultStatus(answer) == PGRES_FATAL_ERROR && isStandby)
        if result.status == .fatalError, let state = result.error?.sqlState {
            if state.spoilsSession { isSpoiled = true }
            if state.endsSession { server?.hasEnded() }
        }
        return result
    }

    /// Reads and drops the rest of a statement whose caller has gone.
    func drain(cancelling: Bool) throws(PostgresError) {
        if cancelling, ending == nil { try end(because: .cancelled) }
        let noCancellation = Cancellation(ringing: interrupt)
        while let result = try nextAnswer(noCancellation) {
            if result.status == PGRES_COPY_OUT {
                var unwanted: [UInt8] = []
                while try copyData(into: &unwanted, noCancellation) { unwanted.removeAll(keepingCapacity: true) }
            }
            if result.status == PGRES_COPY_IN { try endCopy(failing: "abandoned", noCancellation) }
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
        // Flushing keeps libpq's buffer from growing with the data. PQflush does not report a lost
        // server, and then drops the data; only reading detects it.
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
                // libpq allocated the buffer. It is copied and freed here.
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
        try leaveOvertaken()
        if ending == nil, cancellation.isCancelled { try end(because: .cancelled) }
        let socket = PQsocket(pointer)
        guard socket >= 0 else { throw lost() }
        switch interrupt.wait(for: readiness, on: socket, within: ending == nil ? silence : cancelInterval) {
        case .ready: return
        // The rest of a statement must not be sent.
        case .interrupted: try leaveOvertaken()
        case .timedOut:
            guard let ending else {
                return try end(because: PostgresError(.timedOut, "no byte from the server in \(silence)"))
            }
            if ContinuousClock.now >= ending.deadline { throw fail(ending.reason) }
            // A cancel request that arrives before the statement has no effect, so it is repeated.
            try requestCancel(because: ending.reason)
        }
    }

    /// Throws where another server leads now. This one may have been stopped, and would say nothing
    /// for long.
    private func leaveOvertaken() throws(PostgresError) {
        guard server?.isOvertaken ?? (leading.map { $0.changes != changes } ?? false) else { return }
        // PQfinish would send what is left of the statement.
        shutdown(PQsocket(pointer), Int32(SHUT_RDWR))
        throw fail(.overtaken)
    }

    /// Cancels the statement under way, which then has little time to end. A statement that must
    /// not be cancelled ends with its connection.
    private func end(because reason: PostgresError) throws(PostgresError) {
        guard isCancellable else { throw fail(reason) }
        ending = (reason, .now.advanced(by: cancelTimeout))
        try requestCancel(because: reason)
    }

    /// Asks the server to end the statement under way. Best effort: the caller bounds its wait for
    /// the effect.
    ///
    /// PQcancel returns when the server has processed the request, so the request cannot hit a
    /// later statement.
    private func requestCancel(because reason: PostgresError) throws(PostgresError) {
        try leaveOvertaken()
        guard let request = CancelRequest(pointer) else { return }
        request.send(ringing: interrupt)
        let deadline = ContinuousClock.now.advanced(by: cancelTimeout)
        while !request.isProcessed {
            try leaveOvertaken()
            let rest = ContinuousClock.now.duration(to: deadline)
            guard rest > .zero else { throw fail(reason) }
            _ = interrupt.wait(for: .readable, on: -1, within: rest)
        }
    }

    // MARK: The end

    /// Whether the server has hung up while the connection was idle, or the session is spoiled.
    func isStale() -> Bool {
        if isSpoiled || failure != nil || PQstatus(pointer) != CONNECTION_OK { return true }
        // An interrupt that was sent for an earlier statement says nothing about the server.
        interrupt.clear()
        // A server sends something unasked when a setting changes, or when it is about to close the
        // connection, which may follow much later.
        let before = remarks.count
        while interrupt.wait(for: .readable, on: PQsocket(pointer), within: .zero) == .ready {
            let isBroken = PQconsumeInput(pointer) == 0 || PQstatus(pointer) != CONNECTION_OK
            // PQisBusy makes libpq parse the bytes that have arrived.
            let isBusy = PQisBusy(pointer) == 1
            if remarks.isEnd { server?.hasEnded() }
            if isBroken || isBusy || remarks.count > before { return true }
        }
        return false
    }

    /// Reads what the server has said since the last statement. Once something is sent to a server
    /// that has hung up, its last word cannot be read any more.
    func hearLastWord() {
        guard interrupt.wait(for: .readable, on: PQsocket(pointer), within: .zero) == .ready else { return }
        _ = PQconsumeInput(pointer)
        _ = PQisBusy(pointer)
        if remarks.isEnd { server?.hasEnded() }
    }

    private func lost() -> PostgresError {
        // A server that stops at once says so in a warning, and hangs up. PQisBusy makes libpq
        // parse what has arrived.
        _ = PQisBusy(pointer)
        if remarks.isEnd { server?.hasEnded() }
        return fail(PostgresError(.connectionLost, lastMessage.isEmpty ? "the connection broke" : lastMessage))
    }

    private func fail(_ error: PostgresError) -> PostgresError {
        failure = error
        return error
    }
}
