import Glibc

/// The network that a request comes from, as wide as one client can change its address at no cost:
/// an IPv4 address, or an IPv6 /64, which is what one customer gets.
enum PeerNetwork {
    static func of(_ peer: String?) -> String {
        guard let peer, peer.utf8.contains(UInt8(ascii: ":")) else { return peer ?? "" }
        var address = in6_addr()
        // The pointer is valid during the call, and the structure is a local variable.
        guard inet_pton(AF_INET6, String(peer.prefix { $0 != "%" }), &address) == 1 else { return peer }
        return withUnsafeBytes(of: address) { bytes in
            // `::ffff:` precedes a complete IPv4 address.
            let isMapped = bytes.prefix(12).elementsEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF])
            return (isMapped ? bytes.suffix(4) : bytes.prefix(8)).map { String($0, radix: isMapped ? 10 : 16) }
                .joined(separator: isMapped ? "." : ":")
        }
    }
}
