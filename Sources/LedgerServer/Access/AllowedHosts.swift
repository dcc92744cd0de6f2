import HTTPTypes
import Hummingbird

/// Without tokens the service is for programs on this machine. A web page in its browser could
/// reach it under a host name of its own that resolves to this machine, so then only requests to
/// the machine's own names are answered.
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

    /// Whether a host name can only be this machine.
    static func isLoopback(_ host: String) -> Bool {
        if ["localhost", "::1", "[::1]"].contains(host.lowercased()) { return true }
        let parts = host.split(separator: ".", omittingEmptySubsequences: false)
        return parts.count == 4 && parts[0] == "127" && parts.allSatisfy { UInt8($0) != nil }
    }
}
