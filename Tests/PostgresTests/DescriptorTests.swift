import Glibc
import Testing

@testable import Postgres

/// A process that has run out of file descriptors gets an error that it can wait out. In a process
/// of its own, since the limit holds for all that runs in it.
@Suite(.timeLimit(.minutes(10))) struct DescriptorTests {
    @Test func connectingFailsWithAnError() async {
        await #expect(processExitsWith: .success) {
            let configuration = PostgresConfiguration(url: "postgresql://127.0.0.1:1/none")
            var limit = rlimit()
            #expect(getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            limit.rlim_cur = 0
            #expect(setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0)
            let error = await #expect(throws: PostgresError.self) {
                try await PostgresConnection.connect(configuration)
            }
            #expect(error?.kind == .cannotConnect && error?.isRetriable == true)
            #expect(error?.message.contains(String(cString: strerror(EMFILE))) == true)
        }
    }
}
