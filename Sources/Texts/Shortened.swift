extension StringProtocol where UTF8View: BidirectionalCollection {
    /// The beginning of a text, for messages: at most `most` bytes, then an ellipsis if there is
    /// more.
    ///
    /// It is cut between Unicode scalars, because a single Swift character may have megabytes: a
    /// letter with that many accents.
    public func shortened(toBytes most: Int) -> String {
        let bytes = utf8
        guard let cut = bytes.index(bytes.startIndex, offsetBy: most, limitedBy: bytes.endIndex), cut != bytes.endIndex
        else {
            return String(self)
        }
        // A scalar has at most four bytes. If the last one is not complete, it is left out.
        var end = cut
        while end > bytes.startIndex, bytes[end] & 0xC0 == 0x80 { end = bytes.index(before: end) }
        return String(self[..<end]) + "…"
    }
}
