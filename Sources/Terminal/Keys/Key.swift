/// A key, as a terminal reports it.
package enum Key: Sendable, Hashable {
    /// A character that was typed or pasted. Never one that a terminal obeys.
    case text(Unicode.Scalar)
    case up, down, left, right, pageUp, pageDown, home, end
    case enter, escape, backspace, delete, tab
    /// Control with a letter: `control("l")`.
    case control(Unicode.Scalar)
}
