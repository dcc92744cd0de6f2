import BlockingIO

/// Runs blocking work of an actor so that cancelling the task interrupts the work's waits.
///
/// The work is synchronous: the actor does nothing else meanwhile, so a half-read reply cannot
/// reach another call.
func cancellable<Value>(
    by interrupt: Interrupt, isolation: isolated (any Actor)? = #isolation,
    _ work: (Cancellation) throws(RedisError) -> Value
) async throws(RedisError) -> Value {
    let cancellation = Cancellation(ringing: interrupt)
    // A result, because the standard library's function loses the type of the error.
    let result: Result<Value, RedisError> = await withTaskCancellationHandler {
        // A closure is isolated to the actor only if it captures the parameter. Without this line
        // the closure would silently run on the cooperative pool instead of the actor's queue, and
        // two waits are enough to block every task of a two-core machine.
        isolation?.assertIsolated()
        return Result { () throws(RedisError) in try work(cancellation) }
    } onCancel: {
        cancellation.cancel()
    }
    return try result.get()
}

extension Interrupt {
    /// - Throws: ``RedisError/Kind/connection`` where no descriptor is left for it.
    static func make() throws(RedisError) -> Interrupt {
        do {
            return try Interrupt()
        } catch {
            throw RedisError(.connection, "\(error)")
        }
    }
}
