import Foundation

/// Finds the programs of other packages.
enum Programs {
    /// What children search as well.
    static let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"

    /// The directories of `PATH` and those that a plain user's may lack.
    private static let directories =
        path.split(separator: ":").map(String.init).filter { $0.hasPrefix("/") } + [
            "/usr/bin", "/bin", "/usr/sbin", "/sbin",
        ]

    /// - Parameter package: the Debian package to name when the program is missing.
    static func find(_ name: String, package: String) throws -> String {
        for directory in directories where access("\(directory)/\(name)", X_OK) == 0 { return "\(directory)/\(name)" }
        throw EmbeddedServiceError("\(name) is not installed: apt-get install \(package)")
    }

    /// The directory that holds all programs of a Postgres server: from `PATH`, or the newest that
    /// Debian has.
    static func postgres() throws -> String {
        let needed = ["postgres", "initdb", "pg_isready"]
        // Debian's own places are named after the version.
        let root = "/usr/lib/postgresql"
        let versions = ((try? FileManager.default.contentsOfDirectory(atPath: root)) ?? [])
            .compactMap { name in Double(name).map { (name, $0) } }.sorted { $0.1 > $1.1 }
        let linked = directories.map { directory in
            // A link in PATH stands for the directory it points to, where the other programs are.
            URL(filePath: "\(directory)/postgres").resolvingSymlinksInPath().deletingLastPathComponent().path
        }
        for directory in linked + versions.map({ "\(root)/\($0.0)/bin" })
        where needed.allSatisfy({ access("\(directory)/\($0)", X_OK) == 0 }) {
            return directory
        }
        throw EmbeddedServiceError("no Postgres server is installed: apt-get install postgresql")
    }
}
