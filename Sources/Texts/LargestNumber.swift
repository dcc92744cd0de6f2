extension Int64 {
    /// The largest number that is accepted from outside, 2⁶² − 1; the smallest is its negative. The
    /// sum and the difference of any two such numbers exist, and so does the next one. See
    /// docs/decisions/0016-numbers-from-outside.md.
    package static let largestAccepted: Int64 = (1 << 62) - 1
}
