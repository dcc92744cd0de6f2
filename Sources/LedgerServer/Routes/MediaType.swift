import HTTPTypes
import Hummingbird

/// Media types in `Content-Type` and `Accept` (RFC 9110, 8.3.1 and 12.5.1).
enum MediaType {
    /// The type without its parameters, in lower case.
    static func essence(_ value: String) -> String {
        String(value.prefix { $0 != ";" }).trimmingSpaces().lowercased()
    }

    /// The value of a parameter, without quotes and in lower case; `nil` if there is none.
    static func parameter(_ name: String, of value: some StringProtocol) -> String? {
        for parameter in value.split(separator: ";").dropFirst() {
            let parts = parameter.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[0].trimmingSpaces().lowercased() == name else { continue }
            return parts[1].trimmingSpaces().lowercased().filter { $0 != "\"" }
        }
        return nil
    }

    /// Whether the client wants a stream of events: it must name the type, and not prefer a page.
    /// Accepting everything is not enough, and HEAD never gets a stream.
    static func wantsStream(_ request: Request) -> Bool {
        guard request.method == .get else { return false }
        var (stream, page) = (0.0, 0.0)
        for range in request.headers[values: .accept].joined(separator: ",").split(separator: ",") {
            // A malformed quality counts as 0.
            let quality = parameter("q", of: range).map { Double($0) ?? 0 } ?? 1
            switch essence(String(range)) {
            case EventStream.mediaType: stream = max(stream, quality)
            case SentBody.json: page = max(page, quality)
            default: continue
            }
        }
        return stream > 0 && stream >= page
    }
}
