import Crypto
import Foundation
import LedgerCore
import NIOCore

/// The files of the dashboard, by their path below the folder `dashboard`.
struct DashboardFiles: Sendable {
    /// One file, ready to be sent.
    struct File: Sendable {
        let body: ByteBuffer
        let mediaType: String
        /// Changes with the content, and with nothing else.
        let entityTag: String

        init(_ path: String, _ content: Data) {
            body = ByteBuffer(bytes: content)
            mediaType = DashboardFiles.mediaType(of: path)
            entityTag = "\"\(SHA256.hash(data: content).hexadecimal.prefix(32))\""
        }
    }

    /// The page. Every address of the dashboard answers with it.
    static let page = "index.html"

    /// `nil` for the embedded files.
    private let folder: String?

    init(folder: String? = nil) { self.folder = folder }

    /// The file at a path; `nil` if there is none.
    func file(_ path: String) -> File? {
        guard let folder else { return Self.embedded[ExactText(path)] }
        guard Self.isPath(path) else { return nil }
        let root = URL(filePath: folder, directoryHint: .isDirectory).resolvingSymlinksInPath()
        let file = root.appending(path: path).resolvingSymlinksInPath()
        guard file.path.hasPrefix(root.path + "/"), let content = FileManager.default.contents(atPath: file.path) else {
            return nil
        }
        return File(path, content)
    }

    private static let embedded: [ExactText: File] = {
        let folder = "dashboard/"
        let files = EmbeddedFiles.all.filter { $0.path.hasPrefix(folder) }.map { path, text in
            let name = String(path.dropFirst(folder.count))
            return (ExactText(name), File(name, Data(text.utf8)))
        }
        return Dictionary(files) { first, _ in first }
    }()

    /// Whether a path stays within the folder, and names no hidden file.
    static func isPath(_ path: String) -> Bool {
        let names = path.utf8.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false)
        return names.allSatisfy { name in
            !name.isEmpty && name.first != UInt8(ascii: ".") && name.allSatisfy(isOfName)
        }
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte)
            || (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) || "-._".utf8.contains(byte)
    }

    /// A browser runs and shows only what has the right type, because every answer has `nosniff`.
    private static func mediaType(of path: String) -> String {
        switch path.split(separator: ".").last {
        case "html": "text/html; charset=utf-8"
        case "js": "text/javascript; charset=utf-8"
        case "css": "text/css; charset=utf-8"
        case "json": "application/json"
        case "svg": "image/svg+xml"
        case "txt", "md": "text/plain; charset=utf-8"
        case "png": "image/png"
        case "woff2": "font/woff2"
        default: "application/octet-stream"
        }
    }
}
