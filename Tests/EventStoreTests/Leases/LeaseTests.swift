import EventStore
import LedgerTesting
import Postgres
import Testing

@Suite struct LeaseTests {
    /// A lease that was taken while the clock was ahead, by an hour or for ever, keeps nobody out.
    /// A lease of a minute at most is valid.
    @Test(arguments: [("1 hour", true), ("10 minutes", true), ("infinity", true), ("50 seconds", false)])
    func aLeaseFromAClockThatWasAhead(_ ahead: String, _ hasRunOut: Bool) async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            let first = Lease("relay", holder: "first", times: .kept)
            let second = Lease("relay", holder: "second", times: .kept)
            #expect(try await first.take(on: connection))
            #expect(try await second.take(on: connection) == false)
            let end = ahead == "infinity" ? "'infinity'" : "clock_timestamp() + interval '\(ahead)'"
            try await connection.execute(script: "UPDATE leases SET expires_at = \(end)")
            let held: Bool = try await connection.query("SELECT is_held(expires_at) FROM leases").only().decode(0)
            #expect(held != hasRunOut)
            #expect(try await second.take(on: connection) == hasRunOut)
            await connection.close()
        }
    }

    /// Nobody can take a lease for longer. The program refuses lease times that the ledger would
    /// cut.
    @Test func theLongestLease() async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            try await connection.query("SELECT take_lease('relay', 'me', '1 year')")
            let held: Bool = try await connection.query(
                "SELECT is_held(expires_at) AND expires_at <= clock_timestamp() + longest_lease() FROM leases"
            ).only().decode(0)
            #expect(held)
            let longest: Int64 = try await connection.query("SELECT extract(epoch FROM longest_lease())::bigint")
                .only().decode(0)
            #expect(LeaseTimes.durations.upperBound == .seconds(longest))
            await connection.close()
        }
    }
}
