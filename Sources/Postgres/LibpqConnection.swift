import CLibpq
import Glibc
import OffPool

/// One statement: its text and its parameters `$1`, `$2` …
public struct PostgresStatement: Sendable {
    public var sql: String
    public var parameters: [any PostgresEncodable]

    public init(_ sql: String, _ parameters: [any PostgresEncodable] = []) {
        precondition(!sql.utf8.contains(0), "a statement cannot contain U+0000")
        self.sql = sql
        self.parameters = parameters
    }
}

/// A `PGconn` in non-blocking mode, and the waiting around it. Blocks its thread; every wait can be interrupted and has a bound.
///
/// Not `Sendable` on purpose: it lives in one ``PostgresConnection`` actor. libpq's manual, 34.20: "no two threads attempt to
/// manipulate the same PGconn object at the same time" is what the actor gives.
final class LibpqConnection {
    private let pointer: OpaquePointer
    private let interrupt: Interrupt
    private let silence: Duration
    /// How long the server may take to end a statement after it was told to.
    private let cancelPatience = Duration.seconds(5)
    /// Set when the connection cannot be used again.
    private(set) var failure: PostgresError?

    init(_ configuration: PostgresConfiguration, interrupt: Interrupt) throws(PostgresError) {
        self.interrupt = interrupt
        silence = configuration.silence
        // Later keywords win: what stands before `dbname` are defaults that the URL may change.
        let settings: [(String, String)] = [
            ("application_name", configuration.applicationName),
            ("connect_timeout", String(configuration.connectTimeout)),
            ("keepalives_idle", "10"), ("keepalives_interval", "5"), ("keepalives_count", "3"),
            ("tcp_user_timeout", "30000"),
            ("dbname", configuration.url),
            ("client_encoding", "UTF8"),
        ]
        // PQconnectdbParams blocks, for connect_timeout seconds a host at most; it alone tries every host within its own time.
        let connection = withCStrings(settings.map(\.0)) { keywords in
            withCStrings(settings.map(\.1)) { values in PQconnectdbParams(keywords, values, 1) }
        }
        guard let connection else { throw PostgresError(.cannotConnect, "out of memory") }
        pointer = connection
        guard PQstatus(pointer) == CONNECTION_OK else {
            throw PostgresError(.cannotConnect, lastMessage)
        }
        // Notices are for people at a terminal; libpq would print them on standard error.
        PQsetNoticeProcessor(pointer, { _, _ in }, nil)
        guard PQsetnonblocking(pointer, 1) == 0 else { throw PostgresError(.cannotConnect, lastMessage) }
    }

    deinit { PQfinish(pointer) }

    var serverProcess: Int32 { PQbackendPID(pointer) }
    var serverVersion: Int32 { PQserverVersion(pointer) }
    /// Whether a transaction block is open, failed or not.
    var isInTransaction: Bool {
        [PQTRANS_INTRANS, PQTRANS_INERROR, PQTRANS_ACTIVE].contains(PQtransactionStatus(pointer))
    }
    private var lastMessage: String { String(cString: PQerrorMessage(pointer)).trimmed }

    // MARK: Sending

    func send(_ statement: PostgresStatement) throws(PostgresError) {
        let values = statement.parameters.map { $0.postgresBytes() }
        let types = statement.parameters.map { type(of: $0).postgresType }
        // One buffer holds all values; the pointers into it are made only while it is pinned, and libpq copies before returning.
        let lengths = values.map { Int32($0?.count ?? 0) }
        let formats = [Int32](repeating: 1, count: values.count)
        let joined = values.reduce(into: [UInt8]()) { $0 += $1 ?? [] } + [0]
        let sent = joined.withUnsafeBytes { buffer in
            var start = buffer.baseAddress!.assumingMemoryBound(to: CChar.self)
            let pointers: [UnsafePointer<CChar>?] = values.map { value in
                defer { start += value?.count ?? 0 }
                return value == nil ? nil : start
            }
            return PQsendQueryParams(pointer, statement.sql, Int32(values.count), types, pointers, lengths, formats, 1)
        }
        guard sent == 1 else { throw lost() }
    }

    /// Several statements in one text, without parameters; they run in one transaction unless the text says otherwise.
    func send(script: String) throws(PostgresError) {
        guard PQsendQuery(pointer, script) == 1 else { throw lost() }
    }

    func enterPipeline() throws(PostgresError) {
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
    }

    // MARK: Receiving

    /// The next result of the statement under way, `nil` after its last.
    func nextResult(_ cancellation: Cancellation) throws(PostgresError) -> LibpqResult? {
        var ending = Ending()
        while true {
            let unsent = PQflush(pointer)
            guard unsent >= 0 else { throw lost() }
            if unsent == 0, PQisBusy(pointer) == 0 { break }
            try wait(unsent == 1 ? .either : .readable, cancellation, &ending)
            guard PQconsumeInput(pointer) == 1 else { throw lost() }
        }
        return PQgetResult(pointer).map(LibpqResult.init(owning:))
    }

    /// Reads what is left of a statement that nobody waits for any more.
    func drain(cancelling: Bool) throws(PostgresError) {
        if cancelling { requestCancel() }
        let nobody = Cancellation(ringing: interrupt)
        while let result = try nextResult(nobody) {
            if result.status == PGRES_COPY_OUT { while try copyData(nobody) != nil {} }
            if result.status == PGRES_COPY_IN { try endCopy(failing: "abandoned", nobody) }
        }
    }

    // MARK: COPY

    func putCopyData(_ bytes: [UInt8], _ cancellation: Cancellation) throws(PostgresError) {
        var ending = Ending()
        while true {
            let put = bytes.withUnsafeBytes {
                PQputCopyData(pointer, $0.baseAddress?.assumingMemoryBound(to: CChar.self), Int32(bytes.count))
            }
            if put == 1 { break }
            guard put == 0 else { throw lost() }
            try wait(.either, cancellation, &ending)
            _ = PQflush(pointer)
        }
        // Flushing keeps libpq's buffer from growing with the data.
        while true {
            let unsent = PQflush(pointer)
            guard unsent >= 0 else { throw lost() }
            if unsent == 0 { return }
            try wait(.either, cancellation, &ending)
            guard PQconsumeInput(pointer) == 1 else { throw lost() }
        }
    }

    func endCopy(failing message: String?, _ cancellation: Cancellation) throws(PostgresError) {
        var ending = Ending()
        while true {
            let put = PQputCopyEnd(pointer, message)
            if put == 1 { return }
            guard put == 0 else { throw lost() }
            try wait(.either, cancellation, &ending)
        }
    }

    /// One row of a `COPY … TO STDOUT`; `nil` at its end, after which the statement's result follows.
    func copyData(_ cancellation: Cancellation) throws(PostgresError) -> [UInt8]? {
        var ending = Ending()
        while true {
            var buffer: UnsafeMutablePointer<CChar>?
            let length = PQgetCopyData(pointer, &buffer, 1)
            if let buffer {
                // libpq allocated it for us; it is copied out and freed here.
                defer { PQfreemem(buffer) }
                return Array(UnsafeRawBufferPointer(start: buffer, count: Int(length)))
            }
            if length == -1 { return nil }
            guard length == 0 else { throw lost() }
            try wait(.readable, cancellation, &ending)
            guard PQconsumeInput(pointer) == 1 else { throw lost() }
        }
    }

    // MARK: Waiting

    /// A statement that was told to end, by a cancelled task or by a silence.
    private struct Ending { var reason: PostgresError? }

    private func wait(
        _ readiness: Interrupt.Readiness, _ cancellation: Cancellation, _ ending: inout Ending
    ) throws(PostgresError) {
        if ending.reason == nil, cancellation.isCancelled {
            ending.reason = PostgresError(.cancelled, "cancelled")
            requestCancel()
        }
        let limit = ending.reason == nil ? silence : cancelPatience
        switch interrupt.wait(for: readiness, on: PQsocket(pointer), within: limit) {
        case .ready, .interrupted: return
        case .timedOut:
            if let reason = ending.reason { throw fail(reason) }
            ending.reason = PostgresError(.timedOut, "no byte from the server in \(silence)")
            requestCancel()
        }
    }

    /// Asks the server to end the statement under way. Best effort: the caller bounds its wait for the effect.
    private func requestCancel() {
        guard let cancel = PQgetCancel(pointer) else { return }
        defer { PQfreeCancel(cancel) }
        var message = [CChar](repeating: 0, count: 256)
        _ = PQcancel(cancel, &message, Int32(message.count))
    }

    // MARK: The end

    /// Whether the server has hung up while the connection was idle.
    func isStale() -> Bool {
        if failure != nil || PQstatus(pointer) != CONNECTION_OK { return true }
        guard interrupt.wait(for: .readable, on: PQsocket(pointer), within: .zero) == .ready else { return false }
        return PQconsumeInput(pointer) == 0 || PQstatus(pointer) != CONNECTION_OK
    }

    private func lost() -> PostgresError {
        fail(PostgresError(.connectionLost, lastMessage.isEmpty ? "the connection broke" : lastMessage))
    }

    private func fail(_ error: PostgresError) -> PostgresError {
        failure = error
        return error
    }
}

/// Lends C a null-terminated array of C strings for the time of `body`.
private func withCStrings<T>(_ strings: [String], _ body: ([UnsafePointer<CChar>?]) -> T) -> T {
    let copies = strings.map { strdup($0) }
    // The copies outlive `body`: they are freed after it has returned.
    defer { copies.forEach { free($0) } }
    return body(copies.map { UnsafePointer($0) } + [nil])
}
