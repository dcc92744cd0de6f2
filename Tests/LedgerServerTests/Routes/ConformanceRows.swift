import Testing

@testable import LedgerServer

/// The rows of docs/http-conformance.md as requests.
extension ConformanceTests {
    fileprivate static let progress = #"{"type":"progress","data":{"completed":1}}"#
    fileprivate static let cloudEvent =
        #"{"specversion":"1.0","id":"018f0000-0000-7000-8000-000000000000","source":"/s","#
        + #""type":"io.jobledger.job.progress","subject":"job","data":{"completed":1}}"#

    /// A complete request with a body.
    fileprivate static func post(
        _ fields: String, _ body: String, path: String = "/v1/jobs/job/events", close: Bool = true
    )
        -> String
    {
        "POST \(path) HTTP/1.1\r\n{A}\(fields)content-length: \(body.utf8.count)\r\n"
            + "\(close ? "connection: close\r\n" : "")\r\n\(body)"
    }

    static let json = "content-type: application/json\r\n"
    fileprivate static let binary =
        "content-type: application/json\r\nce-specversion: 1.0\r\n"
        + "ce-id: 018f0000-0000-7000-8000-000000000000\r\nce-type: io.jobledger.job.progress\r\n"
    fileprivate static let get = "GET /v1/events HTTP/1.1\r\n{A}"

    static let messages: [Row] = [
        Row(
            "9112 2.2 an empty line before a request",
            "\r\nGET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200),
        Row("9112 2.3 another major version", "GET /livez HTTP/2.0\r\nhost: x\r\n\r\n", 505),
        Row("9112 2.3 HTTP/1.0", "GET /livez HTTP/1.0\r\n\r\n", 200, has: ["http/1.0 200", "connection: close"]),
        Row(
            "9112 2.3 HTTP/1.0 that asks to be kept", "GET /livez HTTP/1.0\r\nconnection: keep-alive\r\n\r\n", 200,
            has: ["connection: close"]),
        Row(
            "9112 6.1 no chunks to HTTP/1.0",
            "GET /v1/jobs/gone/events HTTP/1.0\r\n{A}accept: text/event-stream\r\nlast-event-id: 0\r\n\r\n",
            200, lacks: ["transfer-encoding", "\r\nd\r\n"], end: "retry: 1000\n\n"),
        Row("9112 3 a method that nobody knows", "FROBNICATE /livez HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        Row(
            "9112 3 a target that is too long",
            "GET /\(String(repeating: "x", count: 40_000)) HTTP/1.1\r\nhost: x\r\n\r\n", 414),
        Row(
            "9112 3 a target that is far too long",
            "GET /\(String(repeating: "x", count: 200_000)) HTTP/1.1\r\nhost: x\r\n\r\n",
            414),
        Row("9112 3.2 without Host", "GET /livez HTTP/1.1\r\n\r\n", 400),
        Row("9112 3.2 Host twice", "GET /livez HTTP/1.1\r\nhost: x\r\nhost: x\r\n\r\n", 400),
        Row("9112 3.2 Host that is none", "GET /livez HTTP/1.1\r\nhost: a@b/c\r\n\r\n", 400),
        Row("9112 3.2 an empty Host", "GET /livez HTTP/1.1\r\nhost:\r\nconnection: close\r\n\r\n", 200),
        Row(
            "9112 3.2.2 a target with a host", "GET http://y/livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n",
            200),
        Row(
            "9112 3.2.2 a target with a host and no path",
            "GET http://y?a HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404),
        Row("9112 3.2.3 CONNECT", "CONNECT y:443 HTTP/1.1\r\nhost: y:443\r\n\r\n", 400),
        Row(
            "9112 3.2.4 OPTIONS *", "OPTIONS * HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 204,
            has: ["allow: get, head, post, options"]),
        Row("9112 3.2.4 GET *", "GET * HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        Row(
            "9112 3.2 a target that is not ASCII", "GET /v1/jobs/josé HTTP/1.1\r\nhost: x\r\n\r\n", 400,
            has: ["%C3%A9 for é"]),
        Row("9112 3.2 a fragment", "GET /livez#a HTTP/1.1\r\nhost: x\r\n\r\n", 400),
        Row("9112 5.1 space before the colon", "GET /livez HTTP/1.1\r\nhost : x\r\n\r\n", 400),
        Row("9112 5.2 a folded field", "GET /livez HTTP/1.1\r\nhost: x\r\nx-a: b\r\n c\r\n\r\n", 400),
        Row("9110 5.5 a control character in a field", "GET /livez HTTP/1.1\r\nhost: x\r\nx-a: b\u{0}c\r\n\r\n", 400),
        Row(
            "9112 6.1 both framings",
            "POST /v1/jobs/job/events HTTP/1.1\r\n{J}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            400),
        Row(
            "9112 6.1 HTTP/1.0 with chunks",
            "POST /v1/jobs/job/events HTTP/1.0\r\n{J}transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        Row(
            "9112 6.1 a coding that nobody knows",
            "POST /v1/jobs/job/events HTTP/1.1\r\n{J}transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        Row(
            "9112 6.3 two lengths",
            "POST /v1/jobs/job/events HTTP/1.1\r\n{J}content-length: 5\r\ncontent-length: 6\r\n\r\n", 400),
        Row(
            "9112 6.3 a length that is none",
            "POST /v1/jobs/job/events HTTP/1.1\r\n{J}content-length: +5\r\n\r\n", 400),
        Row(
            "9112 6.3 no length is no body", "POST /v1/jobs/job/events HTTP/1.1\r\n{J}connection: close\r\n\r\n", 400,
            has: ["malformed_json"]),
        Row(
            "9112 7.1 chunks, their extensions, and fields behind them",
            "POST /v1/jobs/job/events HTTP/1.1\r\n{J}transfer-encoding: chunked\r\nconnection: close\r\n\r\n"
                + "\(String(progress.utf8.count, radix: 16));a=b\r\n\(progress)\r\n"
                + "0\r\nauthorization: Bearer no\r\n\r\n",
            201, events: 2),
        Row(
            "9112 7.1 a chunk that is none",
            "POST /v1/jobs/job/events HTTP/1.1\r\n{J}transfer-encoding: chunked\r\n\r\nxyz\r\n",
            400),
        Row(
            "9112 9.3 a connection is kept",
            "GET /livez HTTP/1.1\r\nhost: x\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200,
            200),
        Row(
            "9112 9.6 nothing behind close",
            "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: foo, CLOSE\r\n\r\nGET /livez HTTP/1.1\r\nhost: x\r\n\r\n",
            200,
            has: ["connection: close"]),
        Row(
            "9110 7.8 a wish for another protocol",
            "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n", 200,
            has: ["connection: close"]),
    ]

    static let semantics: [Row] = [
        Row(
            "9110 4.2.3 an encoded path is the same path",
            "GET /%6Civez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200),
        Row(
            "9110 4.2.3 an encoded slash is no slash",
            "GET /v1/jobs/a%2Fb/events HTTP/1.1\r\n{A}connection: close\r\n\r\n", 404,
            has: ["unknown_job"]),
        Row(
            "3986 6.2.2.3 dots are not followed", "GET /v1/jobs/../events HTTP/1.1\r\n{A}connection: close\r\n\r\n",
            404,
            has: ["unknown_job"]),
        Row(
            "9110 6.6.1 the date of an answer", "GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 200,
            has: ["date: ", " gmt\r\n"]),
        Row(
            "9110 6.6.1 the date of what the connection refuses", "GET /livez HTTP/1.1\r\n\r\n", 400,
            has: ["date: ", " gmt\r\n", "application/problem+json"]),
        Row(
            "9110 8.3 a type with parameters",
            post("content-type: application/JSON; Charset=\"UTF-8\"; x=y\r\n", progress), 201,
            events: 2),
        Row(
            "9110 8.3 another charset", post("content-type: application/json; charset=iso-8859-1\r\n", progress), 415,
            has: ["accept: application/json"]),
        Row("9110 8.3 the type twice", post(json + json, progress), 400),
        Row(
            "9110 8.4 an encoded body", post(json + "content-encoding: gzip\r\n", progress), 415,
            has: ["accept-encoding: identity"]),
        Row("9110 8.4 identity", post(json + "content-encoding: identity\r\n", progress), 201, events: 2),
        Row(
            "9110 8.4 a list of nothing else", post(json + "content-encoding: Identity, ,identity\r\n", progress), 201,
            events: 2),
        Row(
            "9110 9.3.2 HEAD", "HEAD /v1/events HTTP/1.1\r\n{A}connection: close\r\n\r\n", 200,
            has: ["content-length: "],
            lacks: ["{\"events\""]),
        Row(
            "9110 9.3.2 HEAD of a stream",
            "HEAD /v1/events HTTP/1.1\r\n{A}accept: text/event-stream\r\nconnection: close\r\n\r\n", 200,
            has: ["application/json"]),
        Row(
            "9110 9.3.7 OPTIONS", "OPTIONS /v1/jobs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 204,
            has: ["allow: get, head, options"]),
        Row(
            "9110 9.3.8 TRACE", "TRACE /v1/jobs HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 405,
            has: ["allow: get, head, options"]),
        Row("9110 10.1.1 an expectation that nobody knows", post(json + "expect: 200-ok\r\n", progress), 417),
        Row(
            "9110 10.1.1 HTTP/1.0 expects nothing",
            "POST /v1/jobs/job/events HTTP/1.0\r\n{J}expect: 100-continue\r\n"
                + "content-length: \(progress.utf8.count)\r\n\r\n\(progress)",
            201, events: 2),
        Row(
            "9110 10.1.1 a refusal in the place of 100",
            "POST /v1/jobs/job/events HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 5\r\n\r\n", 401,
            has: ["connection: close"]),
        Row(
            "9110 11.6.2 the credentials twice",
            "GET /v1/events HTTP/1.1\r\n{A}authorization: Bearer {T}\r\nconnection: close\r\n\r\n", 400),
        Row(
            "9110 12.5.1 nothing that is accepted", get + "accept: image/png\r\nconnection: close\r\n\r\n", 200,
            has: ["application/json", "vary: accept"]),
        Row(
            "9110 12.5.1 a stream that is not wanted",
            get + "accept: text/event-stream;q=0, */*\r\nconnection: close\r\n\r\n",
            200, has: ["application/json"]),
        Row(
            "9110 12.5.1 a page rather than a stream",
            get + "accept: text/event-stream;q=0.5, application/json\r\nconnection: close\r\n\r\n", 200,
            has: ["application/json"]
        ),
        Row("9110 13.1.1 If-Match", post(json + "if-match: \"a\"\r\n", progress), 412, has: ["expected_version"]),
        Row("9110 13.1.2 If-None-Match on POST", post(json + "if-none-match: *\r\n", progress), 412),
        Row("9110 13.1.2 If-None-Match on GET", get + "if-none-match: \"a\"\r\nconnection: close\r\n\r\n", 200),
        Row(
            "9110 13.1.2 If-None-Match: * on GET", get + "if-none-match: *\r\nconnection: close\r\n\r\n", 304,
            has: ["vary: accept"], lacks: ["{\"events\"", "\r\ncontent-type:"]),
        Row(
            "9110 13.1.2 If-None-Match: * where nothing is",
            "GET /v1/jobs/gone/events HTTP/1.1\r\n{A}if-none-match: *\r\nconnection: close\r\n\r\n", 404),
        Row("9110 14.2 Range", get + "range: bytes=0-1\r\nconnection: close\r\n\r\n", 200),
        Row(
            "9111 5.2.2 what may change",
            "GET /v1/jobs/gone/events HTTP/1.1\r\n{A}accept: text/event-stream\r\nconnection: close\r\n\r\n", 200,
            has: ["cache-control: no-store"], end: "retry: 1000\n\n"),
        Row(
            "6750 3 no credentials", "GET /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 401,
            has: ["www-authenticate: bearer realm=\"jobledger\"\r\n"], lacks: ["error="]),
        Row(
            "6750 3 another scheme",
            "GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Basic YTpi\r\nconnection: close\r\n\r\n", 401,
            lacks: ["error="]
        ),
        Row(
            "6750 3.1 a token that does not work",
            "GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer no\r\nconnection: close\r\n\r\n", 401,
            has: ["error=\"invalid_token\""]),
        Row(
            "6750 2 two ways at once",
            "GET /v1/events?access_token={T} HTTP/1.1\r\n{A}accept: text/event-stream\r\nconnection: close\r\n\r\n", 400
        ),
        Row(
            "6750 2.3 an empty token in the address",
            "GET /v1/events?access_token= HTTP/1.1\r\n"
                + "host: x\r\naccept: text/event-stream\r\nconnection: close\r\n\r\n",
            401,
            has: ["access_token is empty"]),
        Row(
            "6750 2.3 a token in the address of a page",
            "GET /v1/events?access_token={T} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 401),
        Row(
            "7235 2.1 the scheme in any case",
            "GET /v1/events HTTP/1.1\r\nhost: x\r\nauthorization: BEARER {T}\r\nconnection: close\r\n\r\n", 200),
        Row(
            "9457 3 a problem", "GET /nothing HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n", 404,
            has: [
                "content-type: application/problem+json", "\"type\":\"urn:jobledger:problem:not_found\"",
                "\"status\":404",
                "\"title\":", "\"detail\":",
            ]),
    ]

    static let cloudEvents: [Row] = [
        Row(
            "HTTP binding 3.2 structured",
            post("content-type: application/cloudevents+json; charset=UTF-8\r\n", cloudEvent), 201,
            events: 2),
        Row(
            "HTTP binding 3.3 batched", post("content-type: application/cloudevents-batch+json\r\n", "[\(cloudEvent)]"),
            201,
            events: 2),
        Row(
            "HTTP binding 3.3.2 an empty batch",
            post("content-type: application/cloudevents-batch+json\r\n", "[]", path: "/v1/events"), 200,
            has: [#"{"results":[]}"#]
        ),
        Row("HTTP binding 3 another format", post("content-type: application/cloudevents+avro\r\n", "x"), 415),
        Row("HTTP binding 3.1 binary", post(binary + "ce-source: /s\r\n", #"{"completed":1}"#), 201, events: 2),
        Row(
            "HTTP binding 3.1 binary, without data",
            post(binary.replacing(json, with: "").replacing("progress", with: "finished") + "ce-source: /s\r\n", ""),
            201,
            events: 2),
        Row(
            "HTTP binding 3.1.1 ce-datacontenttype",
            post(binary + "ce-source: /s\r\nce-datacontenttype: application/json\r\n", "{}"), 400),
        Row(
            "HTTP binding 3.1.3.2 percent-encoded",
            post(binary + "ce-source: /s\r\nce-actor: Euro%20%e2%82%AC%20%F0%9F%98%80\r\n", #"{"completed":1}"#), 201,
            events: 2),
        Row("HTTP binding 3.1.3.2 overlong UTF-8", post(binary + "ce-source: /s\r\nce-actor: %C0%A0\r\n", "{}"), 400),
        Row(
            "HTTP binding 3.1.3.2 quoted", post(binary + "ce-source: \"/s \\\"x\\\"\"\r\n", #"{"completed":1}"#), 201,
            events: 2),
        Row("HTTP binding 3.1.3.2 a quote without an end", post(binary + "ce-source: \"/s\r\n", "{}"), 400),
        Row("HTTP binding 3.1.3.2 no ASCII", post(binary + "ce-source: /é\r\n", "{}"), 400),
        Row("HTTP binding 3.1.3 an attribute twice", post(binary + "ce-source: /s\r\nce-source: /s\r\n", "{}"), 400),
        Row(
            "JSON format 3 an attribute twice",
            post(
                "content-type: application/cloudevents+json\r\n",
                cloudEvent.replacing(#""data""#, with: #""actor":"a","actor":"b","data""#)), 422),
        Row("1.0.2 required attributes", post(binary, "{}"), 422),
        Row("1.0.2 an empty source", post(binary + "ce-source:\r\n", "{}"), 422),
        Row(
            "1.0.2 another specversion",
            post("content-type: application/cloudevents+json\r\n", cloudEvent.replacing(#""1.0""#, with: #""0.3""#)),
            422),
        Row(
            "1.0.2 names of extensions",
            post(
                "content-type: application/cloudevents+json\r\n",
                cloudEvent.replacing(#""data""#, with: #""a_b":1,"data""#)),
            422),
        Row(
            "JSON format 3.1.1 data_base64",
            post(
                "content-type: application/cloudevents+json\r\n",
                cloudEvent.replacing(#""data":{"completed":1}"#, with: #""data_base64":"e30=""#)), 422),
        Row(
            "JSON format 2.2 an extension that is no value",
            post(
                "content-type: application/cloudevents+json\r\n",
                cloudEvent.replacing(#""data""#, with: #""a":{},"data""#)), 422
        ),
        Row(
            "JSON format 3.1 datacontenttype",
            post(
                "content-type: application/cloudevents+json\r\n",
                cloudEvent.replacing(#""data""#, with: #""datacontenttype":"text/plain","data""#)), 422),
        Row(
            "JSON format 3.1 datacontenttype in other letters, with parameters",
            post(
                "content-type: application/cloudevents+json\r\n",
                cloudEvent.replacing(
                    #""data""#, with: #""datacontenttype":"Application/JSON ; charset=utf-8","data""#)),
            201,
            events: 2),
        Row(
            "dataref: data that are elsewhere",
            post(
                "content-type: application/cloudevents+json\r\n",
                cloudEvent.replacing(#""data":{"completed":1}"#, with: #""dataref":"/x""#)), 422),
    ]

    static let streams: [Row] = [
        Row(
            "9.2.2 the media type", "GET /v1/jobs/job/events HTTP/1.0\r\n{A}accept: text/event-stream\r\n\r\n", 200,
            has: ["content-type: text/event-stream\r\n", "id: {P}.", "\ndata: {"], end: "}\n\n"),
        Row(
            "9.2.3 an empty Last-Event-ID",
            "GET /v1/jobs/job/events HTTP/1.0\r\n{A}accept: text/event-stream\r\nlast-event-id:\r\n\r\n", 200,
            has: ["id: {P}."],
            end: "}\n\n"),
        Row(
            "9.2.3 Last-Event-ID",
            "GET /v1/jobs/job/events HTTP/1.0\r\n{A}accept: text/event-stream\r\nlast-event-id: {P}\r\n\r\n", 200,
            lacks: ["\nid: "], end: "retry: 1000\n\n"),
        Row(
            "9.2.3 Last-Event-ID of another stream",
            "GET /v1/jobs/job/events HTTP/1.1\r\n"
                + "{A}accept: text/event-stream\r\nlast-event-id: é\r\nconnection: close\r\n\r\n",
            400),
    ]
}
