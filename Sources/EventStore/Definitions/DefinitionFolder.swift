import Foundation
package import LedgerCore

/// The files of a folder that has one folder for each definition, such as a projection, by their
/// paths in it.
///
/// Everything that could be meant as a definition or as a part of one must be readable: a folder
/// that is silently ignored looks like one in use. Hidden entries, and files of other kinds such as
/// a README, are ignored.
package struct DefinitionFolder {
    /// What the folder holds, in the words of the command line.
    package struct Content: Sendable {
        /// What one definition is.
        let one: String
        /// The option that names the folder; without its dashes the command that makes one.
        let option: String
        /// How the names of the files end that are parts of a definition.
        let suffixes: [String]

        package static let projections = Content(
            one: "projection", option: "--projections", suffixes: [".sql", ".json"])
        package static let categories = Content(one: "category", option: "--categories", suffixes: [".json"])
    }

    package struct Unreadable: Error, Sendable, CustomStringConvertible {
        package let description: String
    }

    let path: String
    private let content: Content
    package private(set) var files: [(path: String, text: String)] = []

    /// The size limit of a file, in bytes.
    private static let mostBytes = 16 << 20
    /// The depth limit of folders in `cases`, since links can form a loop.
    private static let deepest = 8

    package init(reading path: String, of content: Content) throws(Unreadable) {
        self.path = path
        self.content = content
        let (one, option) = (content.one, content.option)
        switch Self.kind(path) {
        case .success(S_IFDIR): break
        case .failure(ENOENT):
            throw Unreadable(
                description: """
                    \(option) \(path): no such folder; jobledger \(option.dropFirst(2)) new NAME makes one with a \
                    \(one) in it
                    """)
        case .failure(let code):
            throw Unreadable(description: "\(option) \(path) cannot be read: \(Self.words(code))")
        case .success:
            throw Unreadable(
                description: """
                    \(option) \(path) is not a folder: name the folder that holds a folder for each \(one)
                    """)
        }
        for (name, kind) in try entries("") {
            if kind == S_IFDIR {
                try readDefinition(name)
            } else if isPart(name) || LedgerName(name) != nil {
                throw Unreadable(
                    description: """
                        \(option) \(path): \(name) is a file, and no \(one): name the folder that holds a \
                        folder for each \(one)
                        """)
            }
        }
    }

    private mutating func readDefinition(_ folder: String) throws(Unreadable) {
        for (name, kind) in try entries(folder) {
            if kind == S_IFDIR {
                if name == "cases" { try readCases("\(folder)/\(name)", depth: 1) }
            } else if isPart(name) {
                try read("\(folder)/\(name)")
            }
        }
    }

    private mutating func readCases(_ folder: String, depth: Int) throws(Unreadable) {
        guard depth <= Self.deepest else {
            throw Unreadable(description: "\(path)/\(folder) lies in too many folders")
        }
        for (name, kind) in try entries(folder) {
            if kind == S_IFDIR {
                try readCases("\(folder)/\(name)", depth: depth + 1)
            } else if isPart(name) {
                try read("\(folder)/\(name)")
            }
        }
    }

    private func isPart(_ name: String) -> Bool { content.suffixes.contains(where: name.hasSuffix) }

    /// The files and folders in a folder; links are followed. Any other kind of entry is an error,
    /// because it stands for content that is not there.
    private func entries(_ folder: String) throws(Unreadable) -> [(name: String, kind: mode_t)] {
        let place = folder.isEmpty ? path : "\(path)/\(folder)"
        let names: [String]
        do {
            names = try FileManager.default.contentsOfDirectory(atPath: place)
        } catch {
            throw Unreadable(description: "\(place) cannot be read: \(Self.words(errno))")
        }
        var entries: [(String, mode_t)] = []
        for name in names.sorted() where !name.hasPrefix(".") {
            switch Self.kind("\(place)/\(name)") {
            case .success(let kind) where kind == S_IFDIR || kind == S_IFREG: entries.append((name, kind))
            case .success: throw Unreadable(description: "\(place)/\(name) is neither a plain file nor a folder")
            case .failure(let code):
                let reason = code == ENOENT ? "it is a link to nothing" : Self.words(code)
                throw Unreadable(description: "\(place)/\(name) cannot be read: \(reason)")
            }
        }
        return entries
    }

    private mutating func read(_ file: String) throws(Unreadable) {
        let place = "\(path)/\(file)"
        guard let handle = FileHandle(forReadingAtPath: place) else {
            throw Unreadable(description: "\(place) cannot be read: \(Self.words(errno))")
        }
        let data: Data
        do {
            data = try handle.read(upToCount: Self.mostBytes + 1) ?? Data()
        } catch {
            throw Unreadable(description: "\(place) cannot be read: \(Self.words(errno))")
        }
        guard data.count <= Self.mostBytes else {
            throw Unreadable(description: "\(place) has more than \(Self.mostBytes) bytes")
        }
        guard let text = String(validating: data, as: UTF8.self) else {
            throw Unreadable(description: "\(place) is not UTF-8: save it as UTF-8, or convert it with iconv")
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

extension DefinitionFolder.Unreadable: ExitStatusProviding {
    package var exitStatus: ExitStatus { .usage }
}
