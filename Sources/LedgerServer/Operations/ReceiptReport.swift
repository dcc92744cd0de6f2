package import LedgerCore
package import Projections

/// A receipt as `jobledger receipts` and `GET /v1/receipts` say it.
package struct ReceiptReport: Encodable, Sendable {
    package var number: Int64
    package var kind: String
    package var projection: String
    package var definition: String
    package var position: Position
    package var rows: Int64?
    package var digest: String?
    package var liveDigest: String?
    package var equal: Bool?
    package var events: Int64?
    package var seconds: Double?
    package var workers: Int?
    package var window: Int64?
    package var blockedMs: Double?
    package var leftOut: Int64?
    package var madeAt: String
    package var madeBy: String
    package var role: String

    package init(_ receipt: RecordedReceipt) {
        // Rounded to thousandths. A number so large that it has none is shown unchanged.
        func short(_ number: Double?) -> Double? { number.map { abs($0) < 1e12 ? ($0 * 1000).rounded() / 1000 : $0 } }
        number = receipt.number
        kind = receipt.kind
        projection = receipt.projection
        definition = receipt.definition
        position = receipt.position
        rows = receipt.rows
        digest = receipt.digest
        liveDigest = receipt.liveDigest
        equal = receipt.isEqual
        events = receipt.events
        seconds = short(receipt.seconds)
        workers = receipt.workers
        window = receipt.window
        blockedMs = short(receipt.blockedMilliseconds)
        leftOut = receipt.leftOut
        madeAt = receipt.madeAt
        madeBy = receipt.madeBy
        role = receipt.role
    }
}

extension RecordedReceipt {
    /// Whether the tables in use had the rebuilt rows; `nil` if they were not compared.
    package var isEqual: Bool? { liveDigest.map { $0 == digest } }
}
