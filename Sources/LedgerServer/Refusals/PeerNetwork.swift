import Glibc

/// Where requests come from, as far as it costs something to come from elsewhere: an IPv4 address,
/// or an IPv6 /64, which is what one customer has.
enum PeerNetwork {
    static func of(_ peer: String?) -> String {
        guard let peer, peer.utf8.contains(UInt8(ascii: ":")) else { return peer ?? "" }
        var address = in6_addr()
        // The structure is ours, for the time of the call.
        guard inet_pton(AF_INET6, String(peer.prefix { $0 != "%" }), &address) == 1 else { return peer }
        return withUnsafeBytes(of: address) { bytes in
            // An IPv4 address behind ::ffff: is one of its own.
            let isMapped = bytes.prefix(12).elementsEqual([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF])
            return (isMapped ? bytes.suffix(4) : bytes.prefix(8)).map { String($0, radix: isMapped ? 10 : 16) }
                .joined(separator: isMapped ? "." : ":")
        }
    }
}
