import HTTPTypes
import Hummingbird

/// Without tokens the service is for programs of this machine. A page in its browser could still
/// reach it under a name of its own that leads here; so only requests to the machine's own names
/// are answered then.
struct AllowedHosts: Sendable {
    let onlyLoopback: Bool

    func check(_ request: Request) throws(Problem) {
        guard onlyLoopback else { return }
        let authority = request.head.authority ?? ""
        var name = authority[...]
        if let colon = name.lastIndex(of: ":"), !name.hasSuffix("]") { name = name[..<colon] }
        guard Self.isLoopback(String(name)) else {
            throw Problem(
                .misdirectedRequest, "misdirected",
                "without tokens only requests to localhost are answered, not to \(authority)")
        }
    }

    /// Whether a host is this machine and no other.
    static func isLoopback(_ host: String) -> Bool {
        if ["localhost", "::1", "[::1]"].contains(host.lowercased()) { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
