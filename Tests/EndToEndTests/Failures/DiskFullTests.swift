import Foundation
import LedgerTesting
import Testing

@testable import EmbeddedServices

extension EndToEnd {
    /// On a real disk that is full, `up` reports it, keeps answering, and recovers by itself when
    /// there is room.
    @Suite("a full disk", .enabled(if: SmallDisk.canMount, "only root with CAP_SYS_ADMIN can mount a small disk"))
    struct DiskFullTests {
        @Test("up reports it, waits for room, and recovers") func recovers() async throws {
            try await SmallDisk.with { disk in
                let up = try await UpProcess.start(in: disk)
                do {
                    try await fillAndRecover(up, disk)
                } catch {
                    await up.program.kill()
                    throw error
                }
                up.program.signal(SIGTERM)
                #expect(try await up.program.end(within: .seconds(60)).code == 0)
            }
        }

        private func fillAndRecover(_ up: UpProcess, _ disk: URL) async throws {
            #expect(try await append(to: up) == 201)
            let filler = try Filler(disk.appending(path: "filler"))
            try await until(within: .seconds(120), "an append finds the disk full") {
                try filler.fill()
                let status = try await append(to: up)
                #expect(status == 201 || status == 503)
                return status == 503
            }

            // The server is killed, and has no room to start again.
            let postmaster = try #require(try await Self.postmaster(of: up))
            kill(postmaster, SIGKILL)
            try await until(within: .seconds(120), "up says that Postgres does not start, and why") {
                try filler.fill()
                return up.program.errors.contains("Postgres does not start, trying again")
            }
            #expect(up.program.errors.contains("The disk of \(disk.path)/postgres is full."), "\(up.program.errors)")
            #expect(up.program.isRunning)
            #expect(try await append(to: up) == 503)

            try filler.remove()
            try await until(within: .seconds(120), "up goes on") {
                let status = try await append(to: up)
                #expect(status == 201 || status == 503)
                return status == 201
            }
            #expect(up.program.isRunning)
        }

        private static func postmaster(of up: UpProcess) async throws -> pid_t? {
            let file = up.directory.appending(path: "postgres/postgres-data/postmaster.pid")
            return try String(contentsOf: file, encoding: .utf8).split(separator: "\n").first.flatMap { pid_t($0) }
        }

        /// Appends a large event, so that it needs the room that a file has left.
        /// - Returns: the status of the answer.
        private func append(to up: UpProcess) async throws -> Int? {
            let (service, token) = (
                try #require(try up.address("JOBLEDGER_URL")), try #require(try up.address("JOBLEDGER_TOKEN"))
            )
            let filling = String(repeating: "x", count: 100_000)
            let outcome = try await ServiceProcess.curl().run(
                [
                    "--silent", "--max-time", "60", "-o", "/dev/null", "-w", "%{http_code}", "-H",
                    "Authorization: Bearer \(token)",
                    "-H", "Content-Type: application/json", "--data-binary", "@-",
                    "\(service)/v1/jobs/\(UUID())/events",
                ], input: Data(#"{"type":"queued","data":{"name":"x","filling":"\#(filling)"}}"#.utf8),
                within: .seconds(90))
            return Int(outcome.output)
        }
    }

    /// A file that takes all the free room of a disk.
    private final class Filler {
        private let path: String
        private let descriptor: Int32

        init(_ file: URL) throws {
            path = file.path
            descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0o600)
            try #require(descriptor >= 0)
        }

        deinit { close(descriptor) }

        func fill() throws {
            for size in [1 << 20, 4096] {
                let block = [UInt8](repeating: 0, count: size)
                while write(descriptor, block, size) > 0 {}
                try #require(errno == ENOSPC)
            }
        }

        func remove() throws {
            try FileManager.default.removeItem(atPath: path)
            ftruncate(descriptor, 0)
        }
    }
}

/// A small disk in memory for one test.
private enum SmallDisk {
    /// Whether this process is root and has CAP_SYS_ADMIN (bit 21 of the capabilities).
    static var canMount: Bool {
        guard geteuid() == 0, let status = try? String(contentsOfFile: "/proc/self/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("CapEff:") }),
            let mask = UInt64(line.dropFirst(7).trimmingCharacters(in: .whitespaces), radix: 16)
        else { return false }
        return mask & 1 << 21 != 0
    }

    static func with(_ body: (URL) async throws -> Void) async throws {
        let directory = try makeDirectory("disk")
        #expect(try await run("mount", "-t", "tmpfs", "-o", "size=160m,mode=0700", "tmpfs", directory.path) == .code(0))
        do {
            try await body(directory)
        } catch {
            _ = try await run("umount", "-l", directory.path)
            throw error
        }
        #expect(try await run("umount", "-l", directory.path) == .code(0))
        try FileManager.default.removeItem(at: directory)
    }

    private static func run(_ command: String...) async throws -> ChildProcess.Exit {
        let program = try Programs.find(command[0], package: "mount")
        return try await ChildProcess.run([program] + command.dropFirst(), log: "/dev/null")
    }
}
