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

/// Remembers the last checkpoint that it has seen of a log, and lets no later one pass that does
/// not continue it: so nobody, not even who has the log's key, can change what this witness has
/// seen, or take it back.
///
/// It remembers twice: in its memory, which outlives it, and in itself, for as long as it looks. A
/// memory that has lost what it was given, or gives something older, cannot make it forget; it is
/// given it again.
public actor Witness {
    private let key: VerifierKey?
    private let memory: any WitnessMemory
    /// The last checkpoint that this witness has let pass.
    private var seen: SignedCheckpoint?

    /// - Parameters:
    ///   - key: who must have signed; `nil` takes the log's word for it, and still knows its
    ///     history again.
    ///   - memory: where the witness keeps the last checkpoint it has seen.
    public init(key: VerifierKey?, memory: any WitnessMemory) {
        self.key = key
        self.memory = memory
    }

    /// Asks the log what it has sealed, and remembers it.
    /// - Returns: the last checkpoint; `nil` while nothing is sealed.
    /// - Throws: ``HistoryRewritten``, ``SignedCheckpoint/NotSigned``, what the memory throws, and
    ///   the log. What was remembered stays then.
    @discardableResult
    public func look(at log: some SealedLog) async throws -> SignedCheckpoint? {
        let kept = try await memory.load()
        // What is not signed was not kept by us: it says nothing about the log. That of another log
        // is told as such below.
        if let key, let kept, kept.head.origin == key.name { try kept.verify(by: key) }
        var remembered = [kept, seen].compactMap(\.self)
        if remembered.count == 2, kept?.head == seen?.head { remembered.removeLast() }
        guard let shown = try await log.checkpoint() else {
            if let old = remembered.first?.head {
                throw HistoryRewritten("nothing is sealed, and \(old.size) events of \(old.origin) were")
            }
            return nil
        }
        var latest = shown
        for old in remembered.map(\.head) { latest = try await Self.latest(of: log, showing: latest, continuing: old) }
        if let key { try latest.verify(by: key) }
        if latest.head.size > kept?.head.size ?? -1 { try await memory.save(latest) }
        seen = latest
        return latest
    }

    /// The last checkpoint of a log, which continues an older one.
    private static func latest(
        of log: some SealedLog, showing shown: SignedCheckpoint, continuing old: TreeHead
    ) async throws -> SignedCheckpoint {
        let head = shown.head
        guard head.origin == old.origin else {
            throw HistoryRewritten(
                "this is the log \(head.origin), and \(old.origin) was seen: another ledger, or another epoch of it")
        }
        guard head.size >= old.size else {
            throw HistoryRewritten(
                "\(head.size) events are sealed, and \(old.size) were: the end was cut off, or this is an older backup")
        }
        let latest = head.size == old.size ? shown : try await log.update(from: old.size).checked(after: old)
        guard latest.head.origin == old.origin, latest.head.size > old.size || latest.head.root == old.root else {
            throw HistoryRewritten.otherRoot(old)
        }
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
        HistoryRewritten(
            "the first \(old.size) events are not those that were seen: the history of \(old.origin) was rewritten")
    }
}
