import HTTPTypes
import Hummingbird

/// Whether a request may use, open or end a session: no page of another origin sends it.
///
/// `SameSite=Strict` alone is not enough, because another port of the same host is the same site.
enum SameOrigin {
    /// Browsers tell by `Sec-Fetch-Site` who causes a request, and with what changes something by
    /// `Origin`. A program that is no browser sends neither, and has no cookie that it was not
    /// given.
    static func sends(_ request: Request) -> Bool {
        if let site = request.headers.first(.fetchSite) {
            // `none`: a person, by the address bar or a bookmark.
            return site == "same-origin" || site == "none"
        }
        guard let origin = request.headers.first(.origin) else { return true }
        // Without the scheme: a proxy may have ended TLS. Both schemes leave out their own port.
        for scheme in ["https://", "http://"] where origin.hasPrefix(scheme) {
            return origin.dropFirst(scheme.count).lowercased() == (request.head.authority ?? "").lowercased()
        }
        return false
    }

    /// Whether a browser fetches an address before anybody wants to see it.
    static func isPrefetch(_ request: Request) -> Bool {
        [HTTPField.Name.fetchPurpose, .purpose].contains {
            request.headers.first($0)?.lowercased().contains("prefetch") == true
        }
    }
}

extension HTTPField.Name {
    static let fetchSite = HTTPField.Name("Sec-Fetch-Site")!
    static let fetchPurpose = HTTPField.Name("Sec-Purpose")!
    static let purpose = HTTPField.Name("Purpose")!
    static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
}
