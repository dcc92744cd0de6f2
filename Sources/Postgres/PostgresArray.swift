/// A one-dimensional array that is encoded as it is filled: one column of a large batch.
package struct PostgresArray<Element: PostgresEncodable>: PostgresEncodable {
    package private(set) var count = 0
    /// The elements, each after its length.
    private var elements: [UInt8] = []

    package init() {}

    /// How many bytes the elements take so far.
    package var size: Int { elements.count }

    package mutating func append(_ element: Element) {
        let start = elements.count
        elements.append(bigEndian: Int32(-1))
        if element.encode(into: &elements) {
            // The length is known only now.
            let length = UInt32(elements.count - start - 4)
            for byte in 0..<4 { elements[start + byte] = UInt8(truncatingIfNeeded: length >> (24 - 8 * UInt32(byte))) }
        }
        count += 1
    }

    package static var postgresType: UInt32 { Element.postgresArrayType }
    package static var postgresArrayType: UInt32 { Element.postgresArrayType }

    package func encode(into bytes: inout [UInt8]) -> Bool {
        bytes.append(bigEndian: Int32(count == 0 ? 0 : 1))  // dimensions
        bytes.append(bigEndian: Int32(1))  // there may be nulls
        bytes.append(bigEndian: Element.postgresType)
        if count > 0 {
            bytes.append(bigEndian: Int32(count))
            bytes.append(bigEndian: Int32(1))  // the first index
            bytes.append(contentsOf: elements)
        }
        return true
    }
}
