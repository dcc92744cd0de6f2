// embed-files FOLDER OUTPUT FILE…: writes a Swift file that holds each FILE as a string literal,
// with its path below FOLDER.
import Foundation

/// Ends the program with a message. If standard error cannot be written, the exit code alone makes
/// the build fail.
func fail(_ text: String) -> Never {
    try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8))
    exit(2)
}

let arguments = CommandLine.arguments
guard arguments.count > 3 else {
    fail("usage: embed-files FOLDER OUTPUT FILE... (at least one FILE, or the program would lack its SQL)")
}
let folder = arguments[1].hasSuffix("/") ? arguments[1] : arguments[1] + "/"

var source = """
    // Made by the EmbedFiles plugin. Do not edit.

    enum EmbeddedFiles {
        /// The text of each file by its path, sorted.
        static let all: [(path: String, text: String)] = [

    """
for path in arguments[3...].sorted() {
    guard path.hasPrefix(folder) else {
        fail("embed-files: \(path) is not below \(folder)")
    }
    let text = try String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8)
    // Enough # that neither the end of the literal nor an escape occurs in the text.
    var fence = "#"
    while text.contains("\"\"\"" + fence) || text.contains("\\" + fence) { fence += "#" }
    source += """
            (
                path: \(fence)"\(path.dropFirst(folder.count))"\(fence),
                text: \(fence)\"\"\"
        \(text)
        \"\"\"\(fence)
            ),

        """
}
source += """
        ]
    }

    """
try source.write(to: URL(fileURLWithPath: arguments[2]), atomically: true, encoding: .utf8)
