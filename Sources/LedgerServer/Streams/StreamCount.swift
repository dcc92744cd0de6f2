import BlockingIO
import HTTPTypes
import LedgerCore

/// Counts and limits the open streams of each token.
final class StreamCount: Sendable {
    private let limit: Int
    private let open = Locked<[TokenID: Int]>([:])

    init(limit: Int) { self.limit = limit }

    /// The number of streams that are open or about to open.
    var count: Int { open.withLock { $0.values.reduce(0, +) } }

    /// - Returns: the stream's place, which is released with this object.
    func enter(_ token: AccessToken?) throws(Problem) -> Reservation {
        let key = token?.id ?? ""
        let isIn = open.withLock { open in
            guard open[key, default: 0] < limit else { return false }
            open[key, default: 0] += 1
            return true
        }
        guard isIn else {
            throw Problem(
                .tooManyRequests, "too_many_streams",
                "a token may have at most \(limit) open streams; follow several jobs on one: ?job=a&job=b"
            )
            .adding(.retryAfter, "5")
        }
        return Reservation { [self] in leave(key) }
    }

    private func leave(_ key: TokenID) {
        open.withLock { open in
            open[key, default: 1] -= 1
            if open[key] == 0 { open[key] = nil }
        }
    }
}
