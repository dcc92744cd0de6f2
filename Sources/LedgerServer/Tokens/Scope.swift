/// What a token may be used for. No scope includes another.
package enum Scope: String, Sendable, CaseIterable, Hashable {
    case append, read, admin
}
