import LedgerCore

/// Events as Redis or a service sends them.
func fuzzFeed(_ bytes: [UInt8]) {
    guard let event = try? FeedEvent(json: bytes) else { return }
    expect(event.position > 0 && Position.positions.contains(event.position), "no position: \(event.position)")
    expect(event.version > 0 && event.total >= 0, "no version, or no total: \(event.version), \(event.total)")
    expect(event.json == bytes, "other bytes")
    _ = (event.data, event.actor, event.correlationID, event.causationID, event.traceparent, event.dataReference)
}
