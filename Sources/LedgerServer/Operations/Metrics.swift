import BlockingIO
import HTTPTypes
import LedgerCore
import Synchronization

/// Counts since the start of this process. Labels have few values; none is ever a job's id.
final class Metrics: Sendable {
    private struct Answer: Hashable, Sendable {
        let method: String
        let path: String
        let status: Int
    }

    /// Requests that are being answered.
    let underWay = Atomic<Int>(0)
    /// By the label `type`.
    private let appendedByType = Locked<[ExactText: UInt64]>([:])
    private let duplicates = Atomic<UInt64>(0)
    private let refusals = Locked<[Refusal.Code: UInt64]>([:])
    private let appendDuration = Histogram()
    private let answers = Locked<[Answer: UInt64]>([:])
    private let requestDuration = Histogram()
    /// The time from the recording of an event until it was handed to a stream's connection.
    let deliveryLag = Histogram()

    // MARK: Counting

    func appended(_ request: AppendRequest, _ answer: AppendAnswer, in duration: Duration) {
        appendDuration.record(duration)
        switch answer {
        case .success(let appended):
            for (event, place) in zip(request.events, appended) {
                if place.isDuplicate {
                    duplicates.add(1, ordering: .relaxed)
                } else {
                    // Only types that a category has can be appended, so they are few.
                    let type = ExactText(
                        request.category == .job ? event.type : "\(request.category).\(event.type)")
                    appendedByType.withLock { $0[type, default: 0] += 1 }
                }
            }
        case .failure(let refusal): refused(refusal)
        }
    }

    func refused(_ refusal: Refusal) { refusals.withLock { $0[refusal.code, default: 0] += 1 } }

    /// - Parameter route: `nil` if none matched: then the path that was sent must not become a
    ///   label.
    func answered(_ route: Route?, _ status: HTTPResponse.Status, in duration: Duration) {
        let answer = Answer(method: route?.method.rawValue ?? "", path: route?.path ?? "", status: status.code)
        answers.withLock { $0[answer, default: 0] += 1 }
        requestDuration.record(duration)
    }

    // MARK: Writing

    func write(to text: inout PrometheusText) {
        text.metric("jobledger_events_appended_total", "counter", "Events appended by this process.")
        let appended = appendedByType.withLock { $0 }
        let ofJobs = EventType.jobTypes.map { ExactText($0.rawValue) }
        for type in ofJobs + appended.keys.filter({ !ofJobs.contains($0) }).sorted() {
            text.sample("jobledger_events_appended_total", [("type", type.text)], "\(appended[type] ?? 0)")
        }
        text.metric(
            "jobledger_append_duplicates_total", "counter", "Retried events, answered with their original place.")
        text.sample("jobledger_append_duplicates_total", [], "\(duplicates.load(ordering: .relaxed))")
        text.metric("jobledger_append_refused_total", "counter", "Events refused, by code.")
        let refused = refusals.withLock { $0 }
        for code in Refusal.Code.allCases {
            text.sample("jobledger_append_refused_total", [("code", code.rawValue)], "\(refused[code] ?? 0)")
        }
        text.metric("jobledger_append_duration_seconds", "histogram", "From a request's last byte to its commit.")
        appendDuration.write("jobledger_append_duration_seconds", to: &text)
        text.metric("jobledger_delivery_lag_seconds", "histogram", "From recording an event to sending it on a stream.")
        deliveryLag.write("jobledger_delivery_lag_seconds", to: &text)
        text.metric("jobledger_http_requests_total", "counter", "Requests answered.")
        for (answer, count) in answers.withLock({ $0 }).sorted(by: {
            ($0.key.path, $0.key.method, $0.key.status) < ($1.key.path, $1.key.method, $1.key.status)
        }) {
            text.sample(
                "jobledger_http_requests_total",
                [("method", answer.method), ("path", answer.path), ("status", "\(answer.status)")], "\(count)")
        }
        text.metric("jobledger_http_requests_under_way", "gauge", "Requests that are being answered.")
        text.sample("jobledger_http_requests_under_way", [], "\(underWay.load(ordering: .relaxed))")
        text.metric(
            "jobledger_http_request_duration_seconds", "histogram",
            "From the head of a request to the head of its answer.")
        requestDuration.write("jobledger_http_request_duration_seconds", to: &text)
    }
}
