import Foundation
import PrivateFiles
import Testing

@testable import EmbeddedServices

@Suite(.timeLimit(.minutes(10))) struct ChildProcessTests {
    @Test func reportsHowAProcessEnded() async throws {
        #expect(try await ChildProcess.run(["/bin/sh", "-c", "exit 3"], log: "/dev/null") == .code(3))
        let child = try await ChildProcess.start(["/bin/sleep", "600"], log: "/dev/null")
        #expect(await child.exit(within: .milliseconds(1)) == nil)
        child.signal(SIGTERM)
        #expect(await child.exit() == .signal(SIGTERM))
        #expect(child.hasExited)
    }

    @Test func cancellationEndsTheWait() async throws {
        let child = try await ChildProcess.start(["/bin/sleep", "600"], log: "/dev/null")
        let wait = Task { await child.exit() }
        wait.cancel()
        #expect(await wait.value == nil)
        child.signal(SIGKILL)
        #expect(await child.exit() == .signal(SIGKILL))
    }

    @Test func aMissingProgramIsAnError() async throws {
        await #expect(throws: EmbeddedServiceError("cannot run /nonexistent: No such file or directory")) {
            _ = try await ChildProcess.start(["/nonexistent"], log: "/dev/null")
        }
        let error = #expect(throws: EmbeddedServiceError.self) {
            try Programs.find("no-such-program", package: "some-package")
        }
        #expect(error?.description.contains("apt-get install some-package") == true)
    }

    /// A place that cannot be read may have a server, so it is not reported as a missing one.
    @Test func aPlaceOfProgramsThatCannotBeReadIsAnError() throws {
        let missing = #expect(throws: EmbeddedServiceError.self) {
            try Programs.postgres(linkedFrom: [], root: "/nonexistent")
        }
        #expect(missing?.description.contains("no Postgres server is installed") == true)
        let unreadable = #expect(throws: FileFailure.self) {
            try Programs.postgres(linkedFrom: [], root: "/dev/null")
        }
        #expect(unreadable?.description.contains("/dev/null cannot be opened") == true)
    }

    @Test func aChildInheritsNoDescriptors() async throws {
        let log = FileManager.default.temporaryDirectory.appending(path: "descriptors-\(UUID())")
        defer { try? FileManager.default.removeItem(at: log) }
        let inheritable = open("/dev/null", O_RDONLY)
        defer { close(inheritable) }
        _ = try await ChildProcess.run(["/bin/sh", "-c", "ls /proc/$$/fd"], log: log.path)
        let numbers = try String(contentsOf: log, encoding: .utf8).split(separator: "\n").compactMap { Int32($0) }
        #expect(!numbers.contains(inheritable))
    }
}
