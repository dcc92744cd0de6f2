import HTTPTypes
import Hummingbird
import LedgerCore

/// The routes of the dashboard: a page, and the files that it loads.
///
/// Anyone may have them, as they are the same for every ledger. What the page shows it asks for
/// with the browser's session.
struct DashboardRoutes: Sendable {
    let files: DashboardFiles

    /// The addresses of the page, which shows what its address says.
    static let pages = ["/", "/jobs", "/jobs/{id}", "/timeline", "/compare", "/audit", "/operations"]

    var routes: [Route] {
        Self.pages.map { Route(.get, $0, scope: nil) { try await answer($0.request, DashboardFiles.page) } }
            + [Route(.get, "/dashboard/{path}", scope: nil) { try await answer($0.request, $0.job.text) }]
    }

    private func answer(_ request: Request, _ path: String) async throws -> Response {
        // A folder is read from the disk, which may take longer than an event loop may.
        let file = await withTaskExecutorPreference(globalConcurrentExecutor) { files.file(path) }
        guard let file else { throw Problem(.notFound, "not_found", "the dashboard has no such file") }
        var headers = Self.headers
        headers[.eTag] = file.entityTag
        guard !Self.has(file, request) else { return Response(status: .notModified, headers: headers) }
        headers[.contentType] = file.mediaType
        return Response(status: .ok, headers: headers, body: ResponseBody(byteBuffer: file.body))
    }

    /// Whether the client has the file already (RFC 9110, 13.1.2).
    private static func has(_ file: DashboardFiles.File, _ request: Request) -> Bool {
        request.headers[values: .ifNoneMatch].joined(separator: ",").utf8.split(separator: UInt8(ascii: ",")).contains {
            let tag = Substring($0).trimmingSpaces()
            return (tag.hasPrefix("W/") ? String(tag.dropFirst(2)) : tag) == file.entityTag
        }
    }

    /// Nothing runs, loads or sends but what comes from this service. So a text that got into the
    /// page as markup could do nothing.
    static let contentSecurityPolicy = [
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src 'self' data:",
        "font-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'",
    ].joined(separator: "; ")

    private static let headers: HTTPFields = [
        .contentSecurityPolicy: contentSecurityPolicy, .referrerPolicy: "no-referrer",
        .crossOriginOpenerPolicy: "same-origin",
        // Kept by the browser, and asked for each time: a new program has new files.
        .cacheControl: "no-cache",
    ]
}

extension HTTPField.Name {
    static let crossOriginOpenerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy")!
}
