import BlockingIO
import LedgerCore
import Postgres

/// The versions that jobs have reached, as far as this process knows. The append function uses them
/// as hints: it finds a job's last event faster from a version that is near. A wrong hint costs
/// time and changes no result, since the log may have grown meanwhile or may be a different one.
/// Streams of other categories have no hints.
final class VersionHints: Sendable {
    private let versions = Locked<[JobID: Int32]>([:])
    private let most: Int

    /// - Parameter most: how many jobs are remembered; beyond that, all are forgotten.
    init(most: Int = 20_000) { self.most = most }

    func look(up jobs: some Sequence<JobID>) -> PostgresArray<Int32?> {
        let jobs = Array(jobs)
        return versions.withLock { versions in
            var known = PostgresArray<Int32?>()
            for job in jobs { known.append(versions[job]) }
            return known
        }
    }

    func note(_ answers: [AppendAnswer], to requests: [AppendRequest]) {
        versions.withLock { versions in
            for (request, answer) in zip(requests, answers) {
                guard case .success(let appended) = answer, let last = appended.last, !last.isDuplicate,
                    request.category == .job
                else { continue }
                if versions.count >= most { versions.removeAll(keepingCapacity: true) }
                versions[request.job] = last.version
            }
        }
    }
}
