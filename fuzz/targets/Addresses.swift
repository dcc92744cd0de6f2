import Texts

/// Addresses of Redis, and query strings.
func fuzzAddresses(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    _ = try? RedisConfiguration(url: text).description
    guard let query = Query(parsing: text) else { return }
    // Written again, it means the same.
    let again = query.parameters.map { "\(Query.encoded($0.name))=\(Query.encoded($0.value))" }.joined(separator: "&")
    let second = Query(parsing: again)
    expect(second?.parameters.count == query.parameters.count, "a query that changes")
    for (one, other) in zip(query.parameters, second?.parameters ?? []) {
        expect(
            one.name.utf8.elementsEqual(other.name.utf8) && one.value.utf8.elementsEqual(other.value.utf8),
            "a parameter that changes")
        expect(!one.value.utf8.contains(0), "U+0000")
    }
}
