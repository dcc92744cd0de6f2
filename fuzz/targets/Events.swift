import LedgerCore

/// Lines of files and bodies of requests: events as programs send them, as CloudEvents, and as
/// others remember them.
func fuzzEvents(_ bytes: [UInt8]) {
    for event in (try? RememberedEvent.all(in: bytes[...])) ?? [] {
        expect(event.position.map(Position.positions.contains) ?? true, "a position that no log has")
        if let request = event.request {
            expect(request.events.map(\.id) == [event.id], "another event is appended again")
            publish(request.events[0], of: request.category, request.job)
        }
    }
    if let request = try? EventLine.request(JSONText.behindByteOrderMark(bytes[...])) {
        publish(request.events[0], of: request.category, request.job)
    }
    guard let members = try? JSONText.slices(of: bytes[...]) else { return }
    let data = members.last { $0.name == "data" }?.value
    if let sent = try? SentEvent(cloudEvent: members.filter { $0.name != "data" }, data: data) {
        publish(sent.event, of: sent.category ?? .job, sent.job ?? "job")
    }
}

/// An appended event is published, and subscribers must be able to parse it.
private func publish(_ event: NewEvent, of category: Category, _ job: JobID) {
    guard let type = EventType(rawValue: event.type), !event.data.isEmpty else { return }
    // The database accepts only JSON objects.
    guard (try? JSONText.members(of: event.data)) != nil, (try? JSONText.members(of: event.metadata)) != nil else {
        return
    }
    let recorded = RecordedEvent(
        position: 7, id: event.id, category: category, job: job, version: 3, type: type, data: event.data,
        metadata: event.metadata,
        occurredAt: event.occurredAt, recordedAt: Timestamp(microseconds: 0), total: 4)
    let json = CloudEvent(recorded, of: .standard).json
    expect(!json.contains { $0 == 0x0A || $0 == 0x0D }, "a CloudEvent of several lines")
    guard let received = try? FeedEvent(json: json) else {
        return expect(false, "a CloudEvent that is not understood: \(String(decoding: json, as: UTF8.self))")
    }
    expect(
        received.position == 7 && received.version == 3 && received.type == type && received.id == event.id
            && received.total == 4 && received.category == category,
        "another event is received")
    expect(Array(received.job.utf8) == Array(job.utf8), "another job is received")
    expect(received.time == event.occurredAt ?? Timestamp(microseconds: 0), "another time is received")
    expect(received.data?.utf8.count == event.data.utf8.count, "other data are received")
}
