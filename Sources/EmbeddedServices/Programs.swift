import Foundation
import PrivateFiles

/// Finds programs of other packages.
enum Programs {
    /// The search path, which child processes get too.
    static let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"

    /// The directories of `PATH`, and system directories that the `PATH` of a normal user may lack.
    private static let directories =
        path.split(separator: ":").map(String.init).filter { $0.hasPrefix("/") } + [
            "/usr/bin", "/bin", "/usr/sbin", "/sbin",
        ]

    /// The path of a program.
    /// - Parameter package: the Debian package that the error names if the program is missing.
    static func find(_ name: String, package: String) throws -> String {
        for directory in directories where access("\(directory)/\(name)", X_OK) == 0 { return "\(directory)/\(name)" }
        throw EmbeddedServiceError("\(name) is not installed: apt-get install \(package)")
    }

    /// The directory with the programs of a Postgres server: from `PATH`, otherwise the newest of
    /// Debian's versions.
    /// - Parameters:
    ///   - directories: where links to the programs may be.
    ///   - root: where Debian has one directory for each version.
    /// - Throws: ``EmbeddedServiceError`` if none is installed, `FileFailure` if `root` exists and
    ///   cannot be read.
    static func postgres(
        linkedFrom directories: [String] = Programs.directories, root: String = "/usr/lib/postgresql"
    ) throws -> String {
        let linked = directories.map { directory in
            // A link in PATH points to the directory with the other programs.
            URL(filePath: "\(directory)/postgres").resolvingSymlinksInPath().deletingLastPathComponent().path
        }
        if let directory = linked.first(where: hasServer) { return directory }
        let versions = (try DirectoryHandle.find(root)?.names() ?? [])
            .compactMap { name in Double(name).map { (name, $0) } }.sorted { $0.1 > $1.1 }
        if let directory = versions.map({ "\(root)/\($0.0)/bin" }).first(where: hasServer) { return directory }
        throw EmbeddedServiceError("no Postgres server is installed: apt-get install postgresql")
    }

    private static func hasServer(_ directory: String) -> Bool {
        ["postgres", "initdb", "pg_isready"].allSatisfy { access("\(directory)/\($0)", X_OK) == 0 }
    }
}
