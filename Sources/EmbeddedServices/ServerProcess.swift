import PrivateFiles

/// The process of a private server: starts it, waits until it is ready, and ends it.
actor ServerProcess {
    /// The signals of a stop, the gentlest first, each with how long it may take before the next,
    /// stronger one is sent. The last is SIGKILL.
    typealias Signals = [(number: Int32, limit: Duration)]

    /// What distinguishes one server program from another.
    struct Kind: Sendable {
        /// The name of the server in messages.
        let name: String
        /// The file names of the log and of the socket.
        let log: String
        let socket: String
        /// The signal that the server gets if this process ends without stopping it, as setpriv(1)
        /// names it.
        let parentDeathSignal: String
        let stopping: Signals
        /// The signals of a stop that is like a crash.
        let killing: Signals
        /// How long to wait before a starting server is asked again whether it is ready.
        let pause: Duration
    }

    /// What a starting server answers.
    enum Readiness: Sendable {
        case ready
        /// - Parameter reason: for the error of a server that takes too long; may be empty.
        case notYet(reason: String)
    }

    /// How long a start may take.
    private static let timeout = Duration.seconds(60)
    /// The environment of the server and its tools.
    static var environment: [String: String] {  // plain: our own
        ["PATH": Programs.path, "LC_ALL": "C.UTF-8", "TZ": "UTC"]
    }

    private let kind: Kind
    private let directory: ServiceDirectory
    private let user: ServiceUser
    private let lock: DirectoryLock
    private let sockets: SocketDirectory?
    private var child: ChildProcess?
    /// The directory of the socket while the server answers on one.
    private var socketPlace: DirectoryHandle?

    /// - Parameters:
    ///   - user: the user that runs the server. It can enter the directory.
    ///   - lock: the lock of the directory, which is held until this object is released.
    init(
        _ kind: Kind, in directory: ServiceDirectory, as user: ServiceUser, _ lock: DirectoryLock,
        at address: ServerAddress
    ) {
        (self.kind, self.directory, self.user, self.lock) = (kind, directory, user, lock)
        sockets = address.sockets
    }

    /// The process number of the server; `nil` if it does not run.
    var pid: Int32? { child.flatMap { $0.hasExited ? nil : $0.pid } }

    /// Waits until the server has ended, for any reason. Returns early if the task is cancelled.
    func exit() async { _ = await child?.exit() }

    /// Starts the server, and returns when it is ready.
    /// - Parameters:
    ///   - command: the path of the server's program, and its arguments.
    ///   - readiness: asks the server with this process number.
    /// - Throws: ``EmbeddedServiceError`` with the end of the log, if the server ends or takes too
    ///   long. It does not run then.
    func launch(_ command: [String], readiness: @Sendable (Int32) async throws -> Readiness) async throws {
        let place = try sockets?.prepare()
        let child = try await ChildProcess.start(
            try user.command(command, parentDeathSignal: kind.parentDeathSignal),
            environment: Self.environment, log: directory.path(kind.log))
        self.child = child
        do {
            try await waitUntilReady(child, readiness)
            socketPlace = place
        } catch {
            try await end(by: kind.stopping)
            throw error
        }
    }

    private func waitUntilReady(
        _ child: ChildProcess, _ readiness: @Sendable (Int32) async throws -> Readiness
    ) async throws {
        let deadline = ContinuousClock.now.advanced(by: Self.timeout)
        while case .notYet(let reason) = try await readiness(child.pid) {
            let isLate = ContinuousClock.now > deadline
            if let exit = await child.exit(within: kind.pause) { throw startFailure("ended with \(exit)") }
            guard !isLate else {
                throw startFailure("is not ready after \(Self.timeout)" + (reason.isEmpty ? "" : " (\(reason))"))
            }
            try Task.checkCancellation()
        }
    }

    private func startFailure(_ what: String) -> EmbeddedServiceError {
        directory.startFailure("\(kind.name) \(what)", log: kind.log)
    }

    /// Stops the server, also in a cancelled task, and removes its socket directory if that is in
    /// /tmp.
    func stop() async throws {
        try await end(by: kind.stopping)
        try sockets?.remove()
    }

    /// Stops the server by signals that are like a crash.
    func kill() async throws { try await end(by: kind.killing) }

    /// Stops the server, which the caller then launches again.
    /// - Throws: ``DirectoryLost`` if the directory is not the one that was locked.
    func stopForRestart() async throws {
        try await end(by: kind.stopping)
        try lock.requireHeld()
    }

    /// Stops a server whose socket was removed, for example by a cleaner of /tmp: it runs, but
    /// nobody can reach it.
    func stopUnreachable() async throws {
        guard let socketPlace, !(socketPlace.isThere && socketPlace.identity(of: kind.socket) != nil) else { return }
        try await end(by: kind.stopping)
    }

    private func end(by signals: Signals) async throws {
        guard let child else { return }
        self.child = nil
        socketPlace = nil
        // A server that shuts down removes its socket by path. If the directory was replaced, that
        // path may be another server's socket, so it is killed.
        let ended = await child.end(by: lock.isHeld ? signals : Array(signals.suffix(1)))
        guard ended else { throw EmbeddedServiceError("\(kind.name), process \(child.pid), does not end") }
    }
}
