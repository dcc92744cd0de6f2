/// The limits of appends that more than one module needs. The migrations have those that the ledger
/// itself enforces once more, and a test compares the two.
package enum AppendLimits {
    /// The most events in one request. They are appended as a whole.
    package static let eventsInRequest = 1000
    /// The most events in one call, of one or of many jobs: `longest_batch()` of the ledger.
    package static let eventsInCall = 10_000
    /// The most bytes of one event's data: `longest_data()` of the ledger.
    package static let bytesOfData = 8 << 20
}
