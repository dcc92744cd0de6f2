package import LedgerCore

/// What is wrong with the files of a category, and where.
package struct CategoryProblem: Error, Sendable, Equatable, CustomStringConvertible {
    /// The category's folder.
    package let category: String
    /// The file, by its path in the folder.
    package let file: String
    /// The place in the file, as a JSON pointer (RFC 6901); empty for the file as a whole.
    package let pointer: JSONPointer
    package let reason: String

    package init(category: String, file: String, pointer: JSONPointer = JSONPointer(), reason: String) {
        self.category = category
        self.file = file
        self.pointer = pointer
        self.reason = reason
    }

    package var description: String {
        "category \(category): \(file): \(pointer.tokens.isEmpty ? "" : "\(pointer): ")\(reason)"
    }
}

extension CategoryProblem: ExitStatusProviding {
    package var exitStatus: ExitStatus { .usage }
}

/// A place in a JSON document, as RFC 6901 writes it.
package struct JSONPointer: Sendable, Hashable, CustomStringConvertible {
    package private(set) var tokens: [ExactText] = []

    package init(_ tokens: ExactText...) { self.tokens = tokens }

    static func / (pointer: JSONPointer, token: ExactText) -> JSONPointer {
        var longer = pointer
        longer.tokens.append(token)
        return longer
    }

    static func / (pointer: JSONPointer, index: Int) -> JSONPointer { pointer / ExactText(String(index)) }

    package var description: String {
        tokens.map { "/" + $0.text.replacing("~", with: "~0").replacing("/", with: "~1") }.joined()
    }
}
