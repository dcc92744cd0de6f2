import LedgerCore

extension FeedEvent {
    /// Larger data are left out of streams, with a reference to where they are: a slow client costs
    /// the memory of what is being sent to it.
    private static let largestData = 64 << 10
    private static let data = Array(#","datacontenttype":"application/json","data":"#.utf8)

    /// The CloudEvent as it is streamed.
    var streamed: [UInt8] {
        // Nearly all are small enough as a whole. The first place that looks like it is the data's:
        // within a string a quote has a backslash.
        guard json.count > Self.largestData, let place = json.firstRange(of: Self.data),
            json.count - 1 - place.upperBound > Self.largestData
        else { return json }
        let reference = "/v1/jobs/\(Query.encoded(job))/events?after=\(version - 1)&limit=1"
        return json[..<place.lowerBound] + Array(",\"dataref\":\"\(reference)\"}".utf8)
    }
}
