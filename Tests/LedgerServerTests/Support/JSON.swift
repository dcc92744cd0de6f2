import Foundation

/// A value of a JSON document, for inspecting answers.
///
/// `@unchecked Sendable`: the value comes from `JSONSerialization` without mutable containers, and
/// is only read.
struct JSON: @unchecked Sendable, CustomStringConvertible {
    let value: Any

    init(_ value: Any) { self.value = value }

    subscript(name: String) -> JSON { JSON((value as? [String: Any])?[name] ?? NSNull()) }
    subscript(index: Int) -> JSON {
        guard let list = value as? [Any], list.indices.contains(index) else { return JSON(NSNull()) }
        return JSON(list[index])
    }
    var text: String? { value as? String }
    var number: Int? { (value as? NSNumber)?.intValue }
    var bool: Bool? { value as? Bool }
    var isNull: Bool { value is NSNull }
    var elements: [JSON] { (value as? [Any] ?? []).map(JSON.init) }
    var members: [String: JSON] { (value as? [String: Any] ?? [:]).mapValues(JSON.init) }
    var description: String { "\(value)" }
}
