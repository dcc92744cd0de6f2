internal import HTTPTypes
internal import OffPool

/// How many streams each token has open, at most so many.
final class StreamCount: Sendable {
    private let most: Int
    private let open = Locked<[String: Int]>([:])

    init(most: Int) { self.most = most }

    func enter(_ token: AccessToken?) throws(Problem) {
        let key = token?.id ?? ""
        let isIn = open.withLock { open in
            guard open[key, default: 0] < most else { return false }
            open[key, default: 0] += 1
            return true
        }
        guard isIn else {
            throw Problem(
                .tooManyRequests, "too_many_streams",
                "a token may have \(most) streams open; follow several jobs on one: ?job=a&job=b"
            )
            .adding(.retryAfter, "5")
        }
    }

    func leave(_ token: AccessToken?) {
        let key = token?.id ?? ""
        open.withLock { open in
            open[key, default: 1] -= 1
            if open[key] == 0 { open[key] = nil }
        }
    }
}
