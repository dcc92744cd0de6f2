extension StringProtocol where UTF8View: BidirectionalCollection {
    /// The beginning of a text, for messages: so many bytes at most, and an ellipsis where there is
    /// more.
    ///
    /// It is cut between Unicode scalars. What Swift counts as one character may be megabytes: a
    /// letter with as many accents.
    public func shortened(toBytes most: Int) -> String {
        let bytes = utf8
        guard let cut = bytes.index(bytes.startIndex, offsetBy: most, limitedBy: bytes.endIndex), cut != bytes.endIndex
        else {
            return String(self)
        }
        // A scalar has four bytes at most: the last that has begun is left out where it is not
        // whole.
        var end = cut
        while end > bytes.startIndex, bytes[end] & 0xC0 == 0x80 { end = bytes.index(before: end) }
        return String(self[..<end]) + "…"
    }
}
