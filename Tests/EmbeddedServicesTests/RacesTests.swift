import Foundation
import LedgerTesting
import PrivateFiles
import Testing

@testable import EmbeddedServices

/// Races that occurred on a busy machine.
@Suite(.timeLimit(.minutes(10))) struct RacesTests {
    /// Between fork and exec, a child has copies of all descriptors.
    @Test func aLockIsReleasedEvenIfAnotherProcessHasACopy() async throws {
        try await withDirectory { directory in
            try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true)
            let path = directory.appending(path: "lock").path
            var lock: DirectoryLock? = try DirectoryLock(path: path, for: "the test")
            let copy = try #require(
                try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").lazy.compactMap { Int32($0) }
                    .first {
                        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/fd/\($0)")) == path
                    })
            let held = dup(copy)
            defer { close(held) }
            #expect(throws: EmbeddedServiceError.self) { _ = try DirectoryLock(path: path, for: "the test") }
            withExtendedLifetime(lock) {}
            lock = nil
            _ = try DirectoryLock(path: path, for: "the test")
        }
    }

    /// Another process listens on the port after it was chosen and before the service does.
    @Test func aPortThatWasTakenMeanwhileIsReplaced() async throws {
        try await withDirectory { directory in
            let first = try await PrivateRedis.start(
                directory: directory.appending(path: "first"), listening: .loopback)
            let taken = try #require(URL(string: first.url)?.port)
            let second = try DirectoryHandle.makePrivate(directory.appending(path: "second").path)
            var tries = 0
            let port = try await LocalPort.start {
                tries += 1
                let port = tries == 1 ? UInt16(taken) : try LocalPort.choose(rememberedIn: "port", of: second)
                return (port, port)
            } _: { port in
                if port == taken { throw EmbeddedServiceError("bind: Address already in use") }
            }
            #expect(tries == 2 && port != taken)
            await #expect(throws: EmbeddedServiceError("no")) {
                _ = try await LocalPort.start({ (0, port) }, { (_: Int) in throw EmbeddedServiceError("no") })
            }
            try await first.stop()
        }
    }
}
