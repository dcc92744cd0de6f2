/// Errors that the driver finds by itself.
extension PostgresError {
    /// The statement may take effect on the server that was left.
    static var overtaken: PostgresError {
        var error = PostgresError(
            .connectionLost,
            "another server leads since the statement was sent: an old leader's answer is not waited for")
        error.isOvertaken = true
        return error
    }

    /// A transaction was committed on this server alone.
    static let notReplicated = PostgresError(
        .notReplicated,
        "the transaction was committed, but its wait for a standby was cancelled: a fail-over may lose it")

    static func cannotConnect(
        _ message: String, isPermanent: Bool = false, isOvertaken: Bool = false
    ) -> PostgresError {
        var error = PostgresError(.cannotConnect, message)
        (error.isPermanent, error.isOvertaken) = (isPermanent, isOvertaken)
        return error
    }

    /// A mistake in the connection string.
    static func mistake(_ message: String) -> PostgresError {
        var error = cannotConnect(message, isPermanent: true)
        error.isMistake = true
        return error
    }
}
