import EventStore
import Foundation
import LedgerTesting
import Postgres
import Testing

@testable import LedgerServer

@Suite("limits of what refused requests can store") struct RefusalBoundTests {
    @Test("an address gets a limited number of rows a day, and the rest is counted") func day() async throws {
        try await TestService.with { service in
            let connection = try await service.ledger.connect()
            try await connection.query("UPDATE refusal_limits SET rows_of_address = 3")
            for _ in 0..<10 {
                let answer = try await service.ask("GET", "/v1/events", token: AccessToken.random().text)
                #expect(answer.status == 401)
            }
            _ = try await eventually("all are counted") {
                let row = try await connection.query(
                    """
                    SELECT (SELECT count(*) FROM refusals), (SELECT coalesce(sum(times), 0)::bigint FROM refusals),
                           (SELECT coalesce(sum(left_out), 0)::bigint FROM refusal_days WHERE source = '')
                    """
                ).only()
                let (rows, times, leftOut): (Int64, Int64, Int64) = (
                    try row.decode(0), try row.decode(1), try row.decode(2)
                )
                #expect(rows <= 3)
                return times + leftOut == 10 && leftOut > 0 ? true : nil
            }
            // Refusals of a valid token are limited separately.
            #expect(try await service.append("{", to: "a").status == 400)
            _ = try await eventually("the refusal has a row") {
                try await connection.query("SELECT FROM refusals WHERE code = 'malformed_json'").count == 1 ? true : nil
            }
            await connection.close()
        }
    }

    @Test("addresses are grouped by the network that one client has") func addresses() async throws {
        let cases = [
            ("192.0.2.1", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"), ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"), ("fe80::1%eth0", "fe80::/64"), ("", "unknown"),
            ("x", "unknown"),
        ]
        try await TestLedger.with { ledger in
            for (peer, source) in cases {
                let found: String = try await ledger.store.pool.withConnection {
                    try await $0.query("SELECT refusal_address($1)", peer).only().decode(0)
                }
                #expect(found == "address \(source)", "\(peer)")
            }
        }
        // The service's memory uses the same rule.
        for (one, other, isSame) in [
            ("2001:db8:1:2:3::4", "2001:db8:1:2::", true), ("2001:db8:1:2::", "2001:db8:1:3::", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            #expect((PeerNetwork.of(one) == PeerNetwork.of(other)) == isSame, "\(one), \(other)")
        }
    }

    @Test("a refusal cannot be removed before its time, and is removed after it") func retention() async throws {
        try await TestLedger.with { ledger in
            let connection = try await ledger.connect()
            let insert = """
                INSERT INTO refusals (first_at, last_at, times, peer, method, path, code, detail)
                SELECT at, at, 1, '192.0.2.1', 'GET', '/v1/events', 'forbidden', 'd'
                  FROM (SELECT clock_timestamp() - $1::interval AS at) AS t
                """
            for age in ["91 days", "89 days", "1 minute"] { try await connection.query(insert, age) }
            for statement in ["DELETE FROM refusals", "TRUNCATE refusals", "UPDATE refusals SET times = 2"] {
                await #expect(throws: PostgresError.self, "\(statement)") { try await connection.query(statement) }
            }
            try await connection.execute(script: "SET ROLE \"\(ledger.name)_appender\"")
            #expect(try await connection.query("SELECT forget_refusals()").only().decode(0, as: Int64.self) == 1)
            #expect(try await connection.query("SELECT forget_refusals()").only().decode(0, as: Int64.self) == 0)
            try await connection.execute(script: "RESET ROLE")
            try await connection.query("UPDATE refusal_limits SET days_kept = 30")
            #expect(try await connection.query("SELECT forget_refusals()").only().decode(0, as: Int64.self) == 1)
            #expect(try await connection.query("SELECT FROM refusals").count == 1)
            await connection.close()
        }
    }
}
