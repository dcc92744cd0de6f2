/// What a token may be used for. None includes another.
public enum Scope: String, Sendable, CaseIterable, Hashable {
    case append, read, admin
}
