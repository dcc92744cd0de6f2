import Foundation
import LedgerCore
import Postgres
import Redis

/// The machine and the versions of a run, without which its figures mean nothing.
struct Machine: Encodable, Sendable {
    var cpu: String
    var cores: Int
    var memoryGB: Double
    var kernel: String
    var disk: String
    var postgres: String
    var redis: String
    var swift: String
    var jobledger: String

    static func look(_ bench: Bench) async throws -> Machine {
        let connection = try await PostgresConnection.connect(
            PostgresConfiguration(url: bench.databaseURL), timeout: .seconds(10))
        let postgres: String = try await connection.query("SELECT current_setting('server_version')").only().decode(0)
        await connection.close()
        let client = RedisClient(try RedisConfiguration(url: bench.redisURL))
        let redis = field("redis_version", in: try await client.command("INFO", "server").string ?? "", separator: ":")
        return Machine(
            cpu: field("model name", in: file("/proc/cpuinfo"), separator: ":") ?? "unknown",
            cores: ProcessInfo.processInfo.activeProcessorCount,
            memoryGB: (Double(ProcessInfo.processInfo.physicalMemory) / 1e9).rounded(digits: 3),
            kernel: file("/proc/sys/kernel/osrelease").trimmingCharacters(in: .newlines),
            disk: disk(of: bench.directory),
            postgres: postgres, redis: redis ?? "unknown", swift: swiftVersion, jobledger: commit() ?? "unknown")
    }

    private static func file(_ path: String) -> String { (try? String(contentsOfFile: path, encoding: .utf8)) ?? "" }

    private static func field(_ name: String, in text: String, separator: Character) -> String? {
        let line = text.split(whereSeparator: \.isNewline).first { $0.hasPrefix(name) }
        return line?.split(separator: separator, maxSplits: 1).last?.trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// The file system with the longest mount point above the directory.
    private static func disk(of directory: URL) -> String {
        let path = directory.resolvingSymlinksInPath().path
        let mounts = file("/proc/mounts").split(separator: "\n").map { $0.split(separator: " ") }.filter {
            $0.count > 2
        }
        let mount = mounts.filter { $0[1] == "/" || path == $0[1] || path.hasPrefix("\($0[1])/") }.max {
            $0[1].count < $1[1].count
        }
        return mount.map { "\($0[2]) on \($0[0])" } ?? "unknown"
    }

    /// The commit of the checkout in the working directory, read from its files.
    private static func commit() -> String? {
        var directory = ".git"
        // In a linked work tree .git is a file with the path of the directory.
        let pointer = file(".git")
        if pointer.hasPrefix("gitdir: ") { directory = pointer.dropFirst(8).trimmingCharacters(in: .newlines) }
        let head = file("\(directory)/HEAD").trimmingCharacters(in: .newlines)
        guard head.hasPrefix("ref: ") else { return head.isEmpty ? nil : String(head.prefix(12)) }
        let common = file("\(directory)/commondir").trimmingCharacters(in: .newlines)
        let commit = file("\(common.isEmpty ? directory : "\(directory)/\(common)")/\(head.dropFirst(5))")
        return commit.isEmpty ? nil : String(commit.prefix(12))
    }

    private static var swiftVersion: String {
        #if swift(>=6.4)
            "6.4 or newer"
        #elseif swift(>=6.3)
            "6.3"
        #elseif swift(>=6.2)
            "6.2"
        #else
            "6.1"
        #endif
    }
}
