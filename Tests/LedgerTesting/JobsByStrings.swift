import EventStore
package import LedgerCore

// Lets tests use strings as names of jobs and compare them, byte for byte.

extension ExactText {
    package static func == (text: ExactText, string: String) -> Bool { text == ExactText(string) }
    package static func != (text: ExactText, string: String) -> Bool { text != ExactText(string) }
}

extension AppendRequest {
    package init(job: String, events: [NewEvent], expectedVersion: Int32? = nil) {
        self.init(job: JobID(job), events: events, expectedVersion: expectedVersion)
    }
}

extension EventQuery {
    package init(job: String, types: Set<EventType>? = nil, limit: Int? = nil) {
        self.init(job: JobID(job), types: types, limit: limit)
    }
}

extension EventStore {
    package func append(
        _ event: NewEvent, to job: String, expectedVersion: Int32? = nil, timeout: Duration = .seconds(10)
    ) async throws -> Appended {
        try await append(event, to: JobID(job), expectedVersion: expectedVersion, timeout: timeout)
    }
}

extension GroupCommit {
    package func append(_ event: NewEvent, to job: String, expectedVersion: Int32? = nil) async throws -> Appended {
        try await append(event, to: JobID(job), expectedVersion: expectedVersion)
    }
}
