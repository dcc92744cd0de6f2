import Foundation

/// A file of settings: `.env`, or the `env` of an `up`. docs/settings.md has the grammar.
///
/// What docker compose and shells read in two ways is no setting but an error, with its line. Messages name the line and never print a value,
/// which may be a password.
struct EnvironmentFile: Sendable {
    typealias Problem = LedgerSettings.Problem

    struct Setting: Sendable {
        let line: Int
        /// Other programs may have settings of theirs here, whose values are not ours to read.
        let value: Result<String, Problem>
    }

    let path: String
    private(set) var settings: [String: Setting] = [:]  // plain: asked for by our own names alone

    /// Far more than settings need.
    private static let mostBytes = 1 << 20

    /// - Throws: ``LedgerSettings/Problem`` where it cannot be read, or has a line that is no setting.
    /// - Returns: `nil` where there is no such file.
    init?(path: String) throws(Problem) {
        guard let bytes = try Self.read(path) else { return nil }
        try self.init(path: path, bytes: bytes)
    }

    init(path: String, bytes: [UInt8]) throws(Problem) {
        self.path = path
        let marked: [UInt8] = [0xEF, 0xBB, 0xBF]
        let lines = (bytes.starts(with: marked) ? bytes[marked.count...] : bytes[...])
            .split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
        for (index, line) in lines.enumerated() {
            let number = index + 1
            do throws(Problem) {
                try add(line.last == UInt8(ascii: "\r") ? line.dropLast() : line, number)
            } catch {
                throw Problem(description: "\(path), line \(number): \(error.description)")
            }
        }
    }

    private mutating func add(_ bytes: ArraySlice<UInt8>, _ number: Int) throws(Problem) {
        guard let (name, rest) = try EnvironmentLine.split(bytes) else { return }
        if let earlier = settings[name] {
            throw Problem(description: "\(name) is set in line \(earlier.line) already: remove one of them")
        }
        let value: Result<String, Problem>
        do throws(Problem) {
            value = .success(try EnvironmentLine.value(rest))
        } catch {
            value = .failure(Problem(description: "\(path), line \(number): \(name): \(error.description)"))
        }
        settings[name] = Setting(line: number, value: value)
    }

    private static func read(_ path: String) throws(Problem) -> [UInt8]? {
        // Not to wait for a writer, should it be a pipe.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        if descriptor < 0, errno == ENOENT { return nil }
        guard descriptor >= 0 else { throw Problem(description: "\(path) cannot be read: \(String(cString: strerror(errno)))") }
        let file = FileHandle(fileDescriptor: descriptor, closeOnDealloc: true)
        do {
            let data = try file.read(upToCount: mostBytes + 1) ?? Data()
            guard data.count <= mostBytes else {
                throw Problem(description: "\(path) is larger than \(mostBytes) bytes: it is no file of settings")
            }
            return Array(data)
        } catch let problem as Problem {
            throw problem
        } catch {
            throw Problem(description: "\(path) cannot be read: \(error.localizedDescription)")
        }
    }
}
