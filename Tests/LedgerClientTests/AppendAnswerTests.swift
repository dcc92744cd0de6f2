import Foundation
import Testing

@testable import LedgerClient

@Suite struct AppendAnswerTests {
    /// The error names the member that a refusal lacks, and none of an appended event.
    @Test func aMalformedRefusalIsNotTakenForAnAppendedEvent() throws {
        let answer = #"{"results":[{"error":{"code":"job_ended"}}]}"#
        let error = #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(ResultsJSON.self, from: Data(answer.utf8))
        }
        guard case .keyNotFound(let key, _)? = error else {
            Issue.record("another error: \(String(describing: error))")
            return
        }
        #expect(key.stringValue == "message")
    }
}
