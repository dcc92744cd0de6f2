/// A log that can be asked what it has sealed: a ledger's tables, or its service.
public protocol SealedLog: Sendable {
    /// The last checkpoint; `nil` while nothing is sealed.
    func checkpoint() async throws -> SignedCheckpoint?
    /// The last checkpoint, with the proof that it continues the one of `size` entries.
    /// - Parameter size: no more than the last checkpoint's.
    func update(from size: Int64) async throws -> CheckpointUpdate
}

/// Where a witness keeps what it has seen: outside the log, or it would be worth nothing.
public protocol WitnessMemory: Sendable {
    /// `nil` where nothing was ever seen.
    func load() async throws -> SignedCheckpoint?
    func save(_ checkpoint: SignedCheckpoint) async throws
}

/// Remembers the last checkpoint that it has seen of a log, and lets no later one pass that does not continue it: so nobody, not even who
/// has the log's key, can change what this witness has seen, or take it back.
public actor Witness {
    private let key: VerifierKey?
    private let memory: any WitnessMemory

    /// - Parameter key: who must have signed; `nil` takes the log's word for it, and still knows its history again.
    public init(key: VerifierKey?, memory: any WitnessMemory) {
        self.key = key
        self.memory = memory
    }

    /// Asks the log what it has sealed, and remembers it.
    /// - Returns: the last checkpoint; `nil` while nothing is sealed.
    /// - Throws: ``HistoryRewritten``, ``SignedCheckpoint/NotSigned``, what the memory throws, and the log. What was remembered stays then.
    @discardableResult
    public func look(at log: some SealedLog) async throws -> SignedCheckpoint? {
        let remembered = try await memory.load()
        guard let seen = try await log.checkpoint() else {
            if let remembered {
                throw HistoryRewritten("nothing is sealed, and \(remembered.head.size) events of \(remembered.head.origin) were")
            }
            return nil
        }
        guard let remembered else {
            if let key { try seen.verify(by: key) }
            try await memory.save(seen)
            return seen
        }
        let (old, head) = (remembered.head, seen.head)
        guard head.origin == old.origin else {
            throw HistoryRewritten(
                "this is the log \(head.origin), and \(old.origin) was seen: another ledger, or another epoch of it")
        }
        guard head.size >= old.size else {
            throw HistoryRewritten(
                "\(head.size) events are sealed, and \(old.size) were: the end was cut off, or this is an older backup")
        }
        let latest = head.size == old.size ? seen : try await log.update(from: old.size).checked(after: old)
        if let key { try latest.verify(by: key) }
        guard latest.head.origin == old.origin, latest.head.size > old.size || latest.head.root == old.root else {
            throw HistoryRewritten.otherRoot(old)
        }
        if latest.head.size > old.size { try await memory.save(latest) }
        return latest
    }
}

extension CheckpointUpdate {
    fileprivate func checked(after old: TreeHead) throws(HistoryRewritten) -> SignedCheckpoint {
        guard continues(old) else { throw HistoryRewritten.otherRoot(old) }
        return checkpoint
    }
}

/// The history that a witness has seen is not the one that the log has now.
public struct HistoryRewritten: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }

    static func otherRoot(_ old: TreeHead) -> HistoryRewritten {
        HistoryRewritten("the first \(old.size) events are not those that were seen: the history of \(old.origin) was rewritten")
    }
}
