internal import LedgerSettings
internal import NIOCore

/// What a connection may do, for its guard.
struct ConnectionLimits: Sendable {
    let headerBytes: Int
    let request: TimeAmount
    let idle: TimeAmount

    init(_ settings: HTTPSettings) {
        headerBytes = settings.headerBytes
        request = TimeAmount(settings.request)
        idle = TimeAmount(settings.idle)
    }
}
