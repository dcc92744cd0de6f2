import LedgerTesting
import Synchronization
import Testing

@testable import Postgres

/// Opens once, and releases everyone who waits for it.
private struct Latch: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation
    init() { (stream, continuation) = AsyncStream.makeStream() }
    func open() { continuation.finish() }
    func wait() async { for await _ in stream {} }
}

/// Counts concurrent users.
private final class Users: Sendable {
    private let counts = Mutex((now: 0, most: 0))
    var most: Int { counts.withLock { $0.most } }
    func enter() {
        counts.withLock {
            $0.now += 1
            $0.most = max($0.most, $0.now)
        }
    }
    func leave() { counts.withLock { $0.now -= 1 } }
}

/// Records the order of events.
private final class Order: Sendable {
    private let list = Mutex([Int]())
    var numbers: [Int] { list.withLock { $0 } }
    func note(_ number: Int) { list.withLock { $0.append(number) } }
}

@Suite(.timeLimit(.minutes(10))) struct PoolTests {
    private func pool(size: Int, longestQueue: Int = 10_000, name: String = "pool") async throws -> PostgresPool {
        PostgresPool(
            PostgresConfiguration(url: try await TestServers.shared.postgresURL(), applicationName: name), size: size,
            longestQueue: longestQueue)
    }

    private func process(_ pool: PostgresPool) async throws -> Int32 {
        try await pool.withConnection { await $0.serverProcess }
    }

    @Test func neverMoreConnectionsThanItsSize() async throws {
        let name = "pool-\(UInt32.random(in: 0...UInt32.max))"
        let pool = try await pool(size: 3, name: name)
        let users = Users()
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<60 {
                group.addTask {
                    try await pool.withConnection { connection async throws in
                        users.enter()
                        // The first ones wait for each other.
                        try await eventually("three at once") { users.most == 3 ? () : nil }
                        #expect(
                            try await connection.number(
                                "SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", name)
                                <= 3)
                        users.leave()
                    }
                }
            }
            try await group.waitForAll()
        }
        #expect(users.most == 3)
        await pool.close()
    }

    @Test func aConnectionIsUsedAgain() async throws {
        let pool = try await pool(size: 4)
        let first = try await process(pool)
        for _ in 0..<5 { #expect(try await process(pool) == first) }
        await pool.close()
    }

    /// Starts `count` waiters one after the other, while another task has the pool's one
    /// connection.
    private func queue(
        _ count: Int, on pool: PostgresPool, in group: inout ThrowingTaskGroup<Void, any Error>,
        _ body: @escaping @Sendable (Int, PostgresConnection) async throws -> Void
    ) async throws {
        for number in 0..<count {
            group.addTask { try await pool.withConnection { try await body(number, $0) } }
            try await eventually("\(number + 1) wait") { await pool.queueLength == number + 1 ? () : nil }
        }
    }

    @Test(arguments: [false, true]) func firstComeFirstServed(breaking: Bool) async throws {
        let pool = try await pool(size: 1)
        let order = Order()
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (lent, latch) = (Latch(), Latch())
            group.addTask {
                try await pool.withConnection { connection async throws in
                    lent.open()
                    await latch.wait()
                    // A broken connection is not passed on; its place is, in the same order.
                    if breaking { await connection.close() }
                }
            }
            await lent.wait()
            try await queue(8, on: pool, in: &group) { number, connection async throws in
                order.note(number)
                #expect(try await connection.stillWorks())
                if breaking { await connection.close() }
            }
            latch.open()
            // A newcomer comes after all of them.
            group.addTask { try await pool.withConnection { _ in order.note(8) } }
            try await group.waitForAll()
        }
        #expect(order.numbers == Array(0...8))
        await pool.close()
    }

    @Test func aBrokenConnectionIsNotReused() async throws {
        let pool = try await pool(size: 1)
        let first = try await process(pool)
        // It breaks while it is idle …
        try await withConnection { try await $0.query("SELECT pg_terminate_backend($1, 30000)", first) }
        let second = try await process(pool)
        #expect(second != first)
        // … and while it is in use.
        await #expect(throws: PostgresError.self) {
            try await pool.withConnection { try await $0.query("SELECT pg_terminate_backend(pg_backend_pid())") }
        }
        #expect(try await pool.withConnection { try await $0.stillWorks() })
        #expect(try await process(pool) != second)
        await pool.close()
    }

    @Test func aConnectionLeftInATransactionIsNotReused() async throws {
        let pool = try await pool(size: 1)
        let first = try await process(pool)
        try await pool.withConnection { try await $0.execute(script: "BEGIN") }
        let second = try await process(pool)
        #expect(second != first)
        try await pool.withConnection { _ = try? await $0.execute(script: "BEGIN; SELECT 1 / 0") }
        let third = try await process(pool)
        #expect(third != second)
        try await pool.withConnection {
            for try await _ in $0.stream("SELECT generate_series(1, 1000000)", chunk: 1) { break }
        }
        #expect(try await pool.withConnection { try await $0.stillWorks() })
        await pool.close()
    }

    /// A session that began read-only stays so after the database accepts writes again, whichever
    /// way it was used.
    @Test(arguments: Way.allCases) func aReadOnlySessionIsNotReused(_ way: Way) async throws {
        let pool = try await pool(size: 1)
        let first = try await pool.withConnection { connection async throws in
            try await connection.execute(script: "SET default_transaction_read_only = on")
            return await connection.serverProcess
        }
        let error = try await postgresError { try await pool.withConnection { try await way.write(on: $0) } }
        #expect(error.sqlState == .readOnly)
        #expect(try await process(pool) != first)
        await pool.close()
    }

    enum Way: CaseIterable {
        case query, script, pipeline, transaction, copy, stream

        func write(on connection: PostgresConnection) async throws {
            let table = "never_made_\(self)"
            switch self {
            case .query: try await connection.query("CREATE TABLE \(table) (n int)")
            case .script: try await connection.execute(script: "SELECT 1; CREATE TABLE \(table) (n int)")
            case .pipeline:
                for answer in try await connection.pipeline([PostgresStatement("CREATE TABLE \(table) (n int)", [])]) {
                    _ = try answer.get()
                }
            case .transaction:
                try await connection.transaction { try await $0.query("CREATE TABLE \(table) (n int)") }
            case .copy:
                let rows = AsyncStream { $0.finish() } as AsyncStream<[UInt8]>
                _ = try await connection.copyIn("CREATE TABLE \(table) (n int); COPY \(table) FROM STDIN", rows)
            case .stream:
                for try await _ in connection.stream("SELECT oid FROM pg_class FOR UPDATE", chunk: 1) {}
            }
        }
    }

    /// An error in a statement says nothing about the session.
    @Test func aSessionThatRefusedAStatementIsReused() async throws {
        let pool = try await pool(size: 1)
        let first = try await process(pool)
        for sql in ["SELECT 1 / 0", "SELECT no_such_column", "SELECT * FROM no_such_table"] {
            await #expect(throws: PostgresError.self) {
                try await pool.withConnection { try await $0.query(PostgresStatement(sql, [])) }
            }
            #expect(try await process(pool) == first)
        }
        await pool.close()
    }

    @Test func theQueueIsBounded() async throws {
        let pool = try await pool(size: 1, longestQueue: 2)
        try await withThrowingTaskGroup(of: Void.self) { group in
            let (lent, latch) = (Latch(), Latch())
            group.addTask {
                try await pool.withConnection { _ in
                    lent.open()
                    await latch.wait()
                }
            }
            await lent.wait()
            try await queue(2, on: pool, in: &group) { _, _ in }
            let error = try await postgresError { _ = try await process(pool) }
            #expect(error.kind == .busy && error.message.contains("2 tasks are waiting"))
            latch.open()
            try await group.waitForAll()
        }
        #expect(try await process(pool) > 0)
        await pool.close()
    }

    @Test func aCancelledWaiterLeavesTheQueue() async throws {
        let pool = try await pool(size: 1)
        let waiter = try await pool.withConnection { _ in
            let waiter = Task { try await process(pool) }
            try await eventually("it waits") { await pool.queueLength == 1 ? () : nil }
            waiter.cancel()
            await #expect(throws: CancellationError.self) { try await waiter.value }
            #expect(await pool.queueLength == 0)
            return waiter
        }
        #expect(waiter.isCancelled)
        #expect(try await process(pool) > 0)
        await pool.close()
    }

    /// A waiter that is woken and cancelled at the same moment passes on what it got, so nobody
    /// after it waits for ever.
    @Test func noPlaceIsLostToCancellation() async throws {
        let pool = try await pool(size: 2)
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = SeededGenerator(seed: seed)
        for _ in 0..<30 {
            let tasks = (0..<12).map { number in
                Task {
                    try await pool.withConnection { connection async throws in
                        try await connection.query("SELECT 1")
                        // Places are passed on as well as connections.
                        if number % 3 == 0 { await connection.close() }
                    }
                }
            }
            for task in tasks where Bool.random(using: &generator) {
                for _ in 0..<Int.random(in: 0...200, using: &generator) { await Task.yield() }
                task.cancel()
            }
            for task in tasks { _ = await task.result }
            #expect(await pool.queueLength == 0, "seed \(seed)")
            #expect(try await process(pool) > 0, "seed \(seed)")
        }
        await pool.close()
    }

    @Test func aClosedPoolLendsNothing() async throws {
        let name = "pool-\(UInt32.random(in: 0...UInt32.max))"
        let pool = try await pool(size: 1, name: name)
        try await pool.withConnection { connection async throws in
            let waiter = Task { try await process(pool) }
            try await eventually("it waits") { await pool.queueLength == 1 ? () : nil }
            await pool.close()
            #expect(try await postgresError { _ = try await waiter.value }.message == "the pool is closed")
            // A connection in use works until it is returned.
            #expect(try await connection.stillWorks())
        }
        #expect(try await postgresError { _ = try await process(pool) }.message == "the pool is closed")
        try await withConnection { connection in
            try await eventually("the session ends") {
                try await connection.number("SELECT count(*) FROM pg_stat_activity WHERE application_name = $1", name)
                    == 0
                    ? () : nil
            }
        }
    }

    @Test func aServerThatIsAwayIsAnErrorForTheUser() async throws {
        let pool = PostgresPool(
            PostgresConfiguration(url: "postgresql://127.0.0.1:1/x"), size: 1, timeout: .milliseconds(50))
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<4 {
                group.addTask {
                    let error = try? await postgresError { _ = try await process(pool) }
                    #expect(error?.kind == .cannotConnect)
                }
            }
        }
        await pool.close()
    }
}
