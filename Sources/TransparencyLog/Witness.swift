/// A sealed log that can be asked for checkpoints: the tables of a ledger, or its HTTP service.
public protocol SealedLog: Sendable {
    /// The last checkpoint; `nil` while nothing is sealed.
    func checkpoint() async throws -> SignedCheckpoint?
    /// The last checkpoint, with the proof that it continues the checkpoint of `size` entries.
    /// - Parameter size: at most that of the last checkpoint.
    func update(from size: Int64) async throws -> CheckpointUpdate
}

/// Where a witness keeps the last checkpoint that it has seen. It must be outside the log: whoever
/// can rewrite the log must not be able to rewrite this.
public protocol WitnessMemory: Sendable {
    /// `nil` where no checkpoint was ever saved.
    func load() async throws -> SignedCheckpoint?
    func save(_ checkpoint: SignedCheckpoint) async throws
}

/// Remembers the last checkpoint it has seen of a log, and accepts a later one only with the proof
/// that it continues that one. So nobody, not even the owner of the key, can change or remove
/// entries that this witness has seen without being found out.
///
/// It remembers the checkpoint twice: in its memory, which outlives it, and in itself while it
/// runs. If the memory has lost the checkpoint, or returns an older one, the witness still knows it
/// and saves it again.
public actor Witness {
    private let key: VerifierKey?
    private let memory: any WitnessMemory
    /// The last checkpoint that this witness has accepted.
    private var seen: SignedCheckpoint?

    /// - Parameters:
    ///   - key: the key that must have signed. With `nil` no signature is checked, and the witness
    ///     only sees whether the history continues.
    ///   - memory: where the witness keeps the last checkpoint it has seen.
    public init(key: VerifierKey?, memory: any WitnessMemory) {
        self.key = key
        self.memory = memory
    }

    /// Asks the log for its last checkpoint, checks that it continues the one remembered, and
    /// remembers it.
    /// - Returns: the last checkpoint; `nil` while nothing is sealed.
    /// - Throws: ``HistoryRewritten``, ``SignedCheckpoint/NotSigned``, and whatever the memory and
    ///   the log throw. The witness then keeps the checkpoint it had.
    @discardableResult
    public func look(at log: some SealedLog) async throws -> SignedCheckpoint? {
        let kept = try await memory.load()
        // A checkpoint in memory that the key has not signed is not from us, so it says nothing
        // about the log. One of another log gets its own error below.
        if let key, let kept, kept.head.origin == key.name { try kept.verify(by: key) }
        var remembered = [kept, seen].compactMap(\.self)
        if remembered.count == 2, kept?.head == seen?.head { remembered.removeLast() }
        guard let shown = try await log.checkpoint() else {
            if let old = remembered.first?.head {
                throw HistoryRewritten(
                    "nothing is sealed now, but \(old.size) events of \(old.origin) were sealed before")
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

    /// The last checkpoint of a log, after the check that it continues an older one.
    private static func latest(
        of log: some SealedLog, showing shown: SignedCheckpoint, continuing old: TreeHead
    ) async throws -> SignedCheckpoint {
        let head = shown.head
        guard head.origin == old.origin else {
            throw HistoryRewritten(
                "this is the log \(head.origin), but \(old.origin) was seen before: another ledger, or another epoch")
        }
        guard head.size >= old.size else {
            throw HistoryRewritten(
                "\(head.size) events are sealed, but \(old.size) were before: "
                    + "the end was cut off, or this is an older backup")
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

/// The log does not continue the history that a witness has seen.
public struct HistoryRewritten: Error, Sendable, Equatable, CustomStringConvertible {
    public let description: String

    init(_ description: String) { self.description = description }

    static func otherRoot(_ old: TreeHead) -> HistoryRewritten {
        HistoryRewritten(
            "the first \(old.size) events are not those seen before: the history of \(old.origin) was rewritten")
    }
}
