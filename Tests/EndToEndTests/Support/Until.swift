import LedgerTesting

/// Waits until a condition holds that another process brings about.
func until(within limit: Duration = .seconds(120), _ question: String, _ holds: () async throws -> Bool) async throws {
    _ = try await eventually(within: limit, question) { try await holds() ? true : nil }
}

/// A program did not do what the test expected.
struct ProgramTrouble: Error, CustomStringConvertible {
    let description: String
}
