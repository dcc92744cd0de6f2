import LedgerSettings

/// The limits of one connection, for its ``ConnectionGuard``.
struct ConnectionLimits: Sendable {
    let headerBytes: Int
    let state: ConnectionState.Limits

    init(_ settings: HTTPSettings) {
        headerBytes = settings.headerBytes
        state = ConnectionState.Limits(request: settings.request, idle: settings.idle)
    }
}
