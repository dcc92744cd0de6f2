import Foundation
import LedgerCore

/// The files of a folder that has one folder for each projection, by their paths in it.
///
/// Everything that could be meant as a projection or as a part of one must be readable: a folder
/// that is silently ignored looks like one in use. Hidden entries, and files of other kinds such as
/// a README, are ignored.
struct ProjectionFolder {
    typealias FormatError = ProjectionDefinition.FormatError

    let path: String
    private(set) var files: [(path: String, text: String)] = []

    /// The size limit of a file, in bytes.
    private static let mostBytes = 16 << 20
    /// The depth limit of folders in `cases`, since links can form a loop.
    private static let deepest = 8

    init(reading path: String) throws(FormatError) {
        self.path = path
        switch Self.kind(path) {
        case .success(S_IFDIR): break
        case .failure(ENOENT):
            throw FormatError(
                description: """
                    --projections \(path): no such folder; jobledger projections new NAME makes one with a \
                    projection in it
                    """)
        case .failure(let code):
            throw FormatError(description: "--projections \(path) cannot be read: \(Self.words(code))")
        case .success:
            throw FormatError(
                description: """
                    --projections \(path) is not a folder: name the folder that holds a folder for each projection
                    """)
        }
        for (name, kind) in try entries("") {
            if kind == S_IFDIR {
                try readProjection(name)
            } else if Self.isPart(name) || LedgerName(name) != nil {
                throw FormatError(
                    description: """
                        --projections \(path): \(name) is a file, and no projection: name the folder that holds a \
                        folder for each projection
                        """)
            }
        }
    }

    private mutating func readProjection(_ folder: String) throws(FormatError) {
        for (name, kind) in try entries(folder) {
            if kind == S_IFDIR {
                if name == "cases" { try readCases("\(folder)/\(name)", depth: 1) }
            } else if Self.isPart(name) {
                try read("\(folder)/\(name)")
            }
        }
    }

    private mutating func readCases(_ folder: String, depth: Int) throws(FormatError) {
        guard depth <= Self.deepest else {
            throw FormatError(description: "\(path)/\(folder) lies in too many folders")
        }
        for (name, kind) in try entries(folder) {
            if kind == S_IFDIR {
                try readCases("\(folder)/\(name)", depth: depth + 1)
            } else if Self.isPart(name) {
                try read("\(folder)/\(name)")
            }
        }
    }

    private static func isPart(_ name: String) -> Bool { name.hasSuffix(".sql") || name.hasSuffix(".json") }

    /// The files and folders in a folder; links are followed. Any other kind of entry is an error,
    /// because it stands for content that is not there.
    private func entries(_ folder: String) throws(FormatError) -> [(name: String, kind: mode_t)] {
        let place = folder.isEmpty ? path : "\(path)/\(folder)"
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: place)
        } catch {
            throw FormatError(description: "\(place) cannot be read: \(Self.words(errno))")
        }
        var entries: [(String, mode_t)] = []
        for name in names.sorted() where !name.hasPrefix(".") {
            switch Self.kind("\(place)/\(name)") {
            case .success(let kind) where kind == S_IFDIR || kind == S_IFREG: entries.append((name, kind))
            case .success: throw FormatError(description: "\(place)/\(name) is neither a plain file nor a folder")
            case .failure(let code):
                let reason = code == ENOENT ? "it is a link to nothing" : Self.words(code)
                throw FormatError(description: "\(place)/\(name) cannot be read: \(reason)")
            }
        }
        return entries
    }

    private mutating func read(_ file: String) throws(FormatError) {
        let place = "\(path)/\(file)"
        guard let handle = FileHandle(forReadingAtPath: place) else {
            throw FormatError(description: "\(place) cannot be read: \(Self.words(errno))")
        }
        let data: Data
        do {
            data = try handle.read(upToCount: Self.mostBytes + 1) ?? Data()
        } catch {
            throw FormatError(description: "\(place) cannot be read: \(Self.words(errno))")
        }
        guard data.count <= Self.mostBytes else {
            throw FormatError(description: "\(place) has more than \(Self.mostBytes) bytes")
        }
        guard let text = String(validating: data, as: UTF8.self) else {
            throw FormatError(description: "\(place) is not UTF-8: save it as UTF-8, or convert it with iconv")
        }
        files.append((file, text))
    }

    // MARK: Calls of the system

    private enum Kind {
        case success(mode_t)
        case failure(Int32)
    }

    /// The kind of the file or folder at a path; links are followed.
    private static func kind(_ path: String) -> Kind {
        var status = stat()
        return stat(path, &status) == 0 ? .success(status.st_mode & S_IFMT) : .failure(errno)
    }

    private static func words(_ code: Int32) -> String { String(cString: strerror(code)) }
}
