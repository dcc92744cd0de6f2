import EventStore
import HTTPTypes
import Hummingbird
import LedgerCore
import Postgres

/// An error as an answer: `application/problem+json`, RFC 9457.
struct Problem: Error, Sendable {
    let status: HTTPResponse.Status
    /// Identifies the kind of problem for programs; part of the public contract.
    let code: String
    /// What went wrong this time, and what the client can do about it.
    let detail: String
    /// Further members, as JSON text.
    var members: [(name: String, json: String)] = []
    var headers: HTTPFields = [:]

    init(_ status: HTTPResponse.Status, _ code: String, _ detail: String) {
        self.status = status
        self.code = code
        self.detail = detail
    }

    func adding(_ name: String, json: String) -> Problem {
        var problem = self
        problem.members.append((name, json))
        return problem
    }

    func adding(_ header: HTTPField.Name, _ value: String) -> Problem {
        var problem = self
        problem.headers[header] = value
        return problem
    }

    /// - Parameter request: the request's id, by which the service's log can be searched.
    func json(request: String?) -> [UInt8] {
        var json = Array(#"{"type":"urn:jobledger:problem:\#(code)","title":"#.utf8)
        json.appendJSON(string: code.replacing("_", with: " "))
        json += #","status":\#(status.code),"detail":"#.utf8
        json.appendJSON(string: detail)
        json += #","code":"\#(code)""#.utf8
        for (name, value) in members { json += ",\"\(name)\":\(value)".utf8 }
        if let request {
            json += ",\"request_id\":".utf8
            json.appendJSON(string: request)
        }
        json.append(UInt8(ascii: "}"))
        return json
    }

    func response(request: String?) -> Response {
        var headers = headers
        headers[.contentType] = "application/problem+json"
        return Response(
            status: status, headers: headers, body: ResponseBody(byteBuffer: ByteBuffer(bytes: json(request: request))))
    }
}
