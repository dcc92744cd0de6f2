// embed-files FOLDER OUTPUT FILE…: writes a Swift file in which each FILE is a string literal, by
// its path below FOLDER.
import Foundation

/// The form that throws: where nobody can be told, the build still fails by its code.
func fail(_ text: String) -> Never {
    try? FileHandle.standardError.write(contentsOf: Data((text + "\n").utf8))
    exit(2)
}

let arguments = CommandLine.arguments
guard arguments.count > 3 else {
    fail("usage: embed-files FOLDER OUTPUT FILE... (a folder without files would make a program without its SQL)")
}
let folder = arguments[1].hasSuffix("/") ? arguments[1] : arguments[1] + "/"

var source = """
    // Made by the EmbedFiles plugin. Not for editing.

    enum EmbeddedFiles {
        /// The text of each file by its path, sorted.
        static let all: [(path: String, text: String)] = [

    """
for path in arguments[3...].sorted() {
    guard path.hasPrefix(folder) else {
        fail("embed-files: \(path) is not below \(folder)")
    }
    let text = try String(contentsOf: URL(fileURLWithPath: path), encoding: .utf8)
    // As many # as make the literal's end unmistakable.
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
