/// The rows in the bytes of a `COPY … TO STDOUT (FORMAT binary)`, read column by column, without an
/// object per row or a name per column.
///
/// The format is described in the manual under COPY, «Binary Format»: a header, then rows that have
/// a column count and columns with their lengths, then a trailer. A chunk ends at the end of a row.
package struct PostgresBinaryRows: Sendable {
    package let bytes: [UInt8]
    @usableFromInline var place = 0

    private static let signature = Array("PGCOPY\n".utf8) + [0xFF, 0x0D, 0x0A, 0]

    /// - Parameter chunk: a chunk of ``PostgresCopyOut``; the first has the header.
    package init(_ chunk: [UInt8]) throws(PostgresError) {
        bytes = chunk
        // No row begins like that, because it would have 20,551 columns.
        guard chunk.starts(with: Self.signature) else { return }
        place = Self.signature.count
        _ = try integer() as Int32  // flags
        let length = Int(try integer() as Int32)  // of an extension of the header
        guard (0...bytes.count - place).contains(length) else { throw .unexpected("a header of \(length) bytes") }
        place += length
    }

    /// Moves to the next row; false at the end of the chunk or of the whole COPY.
    /// - Parameter columns: how many columns it must have.
    package mutating func next(columns: Int) throws(PostgresError) -> Bool {
        guard place < bytes.count else { return false }
        let count: Int16 = try integer()
        if count == -1 { return false }
        guard count == columns else { throw .unexpected("a row of \(count) columns, not of \(columns)") }
        return true
    }

    /// The row's next column. Null can be read as an optional only. The format has no types, so
    /// `type` is not checked.
    @inlinable
    package mutating func column<T: PostgresDecodable & PostgresEncodable>(
        as type: T.Type = T.self
    ) throws(PostgresError) -> T {
        let length = Int(try integer() as Int32)
        let start = place
        guard length <= bytes.count - start else { throw .unexpected("a column of \(length) bytes is cut off") }
        let value = bytes.withUnsafeBytes { bytes in
            // The bytes are valid within the closure, which copies the value.
            T.decode(
                length < 0 ? nil : UnsafeRawBufferPointer(rebasing: bytes[start..<start + length]), type: T.postgresType
            )
        }
        guard let value else { throw .unexpected("a column of \(length) bytes is not a \(T.self)") }
        place += max(0, length)
        return value
    }

    /// The range of the row's next column in ``bytes``, `nil` for null.
    @inlinable
    package mutating func column() throws(PostgresError) -> Range<Int>? {
        let length = Int(try integer() as Int32)
        guard length >= 0 else { return nil }
        guard length <= bytes.count - place else { throw .unexpected("a column of \(length) bytes is cut off") }
        defer { place += length }
        return place..<place + length
    }

    @inlinable
    mutating func integer<T: FixedWidthInteger>() throws(PostgresError) -> T {
        let size = MemoryLayout<T>.size
        guard place + size <= bytes.count else { throw .unexpected("a row is cut off") }
        defer { place += size }
        return bytes.withUnsafeBytes { T(bigEndian: $0.loadUnaligned(fromByteOffset: place, as: T.self)) }
    }
}
