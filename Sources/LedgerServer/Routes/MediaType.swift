import HTTPTypes
import Hummingbird

/// Media types, as `Content-Type` and `Accept` have them (RFC 9110, 8.3.1 and 12.5.1).
enum MediaType {
    /// The type without its parameters, in lower case.
    static func essence(_ value: String) -> String {
        String(value.prefix { $0 != ";" }).trimmingSpaces().lowercased()
    }

    /// Of a parameter, without quotes and in lower case; `nil` where there is none.
    static func parameter(_ name: String, of value: some StringProtocol) -> String? {
        for parameter in value.split(separator: ";").dropFirst() {
            let parts = parameter.split(separator: "=", maxSplits: 1)
            guard parts.count == 2, parts[0].trimmingSpaces().lowercased() == name else { continue }
            return parts[1].trimmingSpaces().lowercased().filter { $0 != "\"" }
        }
        return nil
    }

    /// Whether the answer is wanted as a stream of events: it must be named, and not liked less
    /// than a page. What accepts everything does not ask for one, and HEAD is never answered so.
    static func wantsStream(_ request: Request) -> Bool {
        guard request.method == .get else { return false }
        var (stream, page) = (0.0, 0.0)
        for range in request.headers[values: .accept].joined(separator: ",").split(separator: ",") {
            // What is malformed is worth nothing.
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
