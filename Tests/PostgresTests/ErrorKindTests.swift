import Testing

@testable import Postgres

/// What a program may conclude from an error: to retry, that the outcome is unknown, or to
/// reconnect.
@Suite struct ErrorKindTests {
    @Test(arguments: [
        (PostgresError.Kind.cannotConnect, true, false, true), (.connectionLost, true, true, true),
        (.timedOut, true, true, true),
        (.cancelled, false, true, false), (.decoding, false, false, false), (.usage, false, false, false),
        (.busy, false, false, false), (.closed, false, false, false), (.server, false, false, false),
    ])
    func kinds(kind: PostgresError.Kind, isRetriable: Bool, outcomeIsUnknown: Bool, isConnectionFailure: Bool) {
        let error = PostgresError(kind, "test")
        #expect(error.isRetriable == isRetriable)
        #expect(error.outcomeIsUnknown == outcomeIsUnknown)
        #expect(error.isConnectionFailure == isConnectionFailure)
    }

    @Test(arguments: [
        ("40001", true, false, false), ("40P01", true, false, false), ("55P03", true, false, false),
        ("55006", true, false, false),
        ("25006", true, false, false), ("53300", true, false, false), ("53100", true, false, false),
        ("53200", true, false, false),
        ("58030", true, false, false), ("08006", true, true, true), ("08P01", true, true, true),
        ("08001", true, false, true),
        ("57P01", true, true, true), ("57P02", true, true, true), ("57P03", true, false, true),
        ("57P05", true, false, false),
        ("25P03", true, false, false), ("25P02", false, false, false), ("26000", true, false, false),
        ("28P01", true, false, false),
        ("3D000", true, false, false), ("XX001", true, false, false), ("XX000", false, false, false),
        ("57014", false, false, false),
        ("23505", false, false, false), ("22P02", false, false, false), ("42P01", false, false, false),
        ("3F000", false, false, false),
        ("42501", false, false, false), ("0A000", false, false, false), ("P0001", false, false, false),
        ("JL001", false, false, false),
    ])
    func states(code: String, isRetriable: Bool, outcomeIsUnknown: Bool, isConnectionFailure: Bool) {
        var error = PostgresError(.server, "test")
        error.sqlState = SQLState(code)
        #expect(error.isRetriable == isRetriable)
        #expect(error.outcomeIsUnknown == outcomeIsUnknown)
        #expect(error.isConnectionFailure == isConnectionFailure)
    }
}
