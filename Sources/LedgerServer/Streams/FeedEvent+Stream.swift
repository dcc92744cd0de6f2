import LedgerCore

extension FeedEvent {
    /// Larger data, in bytes, is left out of streams and replaced by a reference. A slow client
    /// costs the memory of what is being sent to it.
    private static let largestData = 64 << 10
    private static let data = Array(#","datacontenttype":"application/json","data":"#.utf8)

    /// The CloudEvent as it is streamed.
    var streamed: [UInt8] {
        // Nearly all events are small enough as a whole. The first match is the data's member,
        // because within a string a quotation mark is escaped.
        guard json.count > Self.largestData, let place = json.firstRange(of: Self.data),
            json.count - 1 - place.upperBound > Self.largestData
        else { return json }
        let reference = "/v1/jobs/\(Query.encoded(job))/events?after=\(version - 1)&limit=1"
        return json[..<place.lowerBound] + Array(",\"dataref\":\"\(reference)\"}".utf8)
    }
}
